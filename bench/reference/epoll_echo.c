// Epoll_echo is the reference that docs/performance.md compares with: an echo server on epoll in
// C, one thread, edge-triggered, with nothing that is not needed.
//
//	cc -O2 -o epoll_echo epoll_echo.c
//	epoll_echo PORT [SPIN]
//
// With SPIN it asks the kernel again for so many microseconds before it sleeps. Linux.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, ACCEPTS = 64, BUFFER = 64 << 10 };

// conn is a connection. What the kernel did not take is a copy, sent when it can be.
struct conn {
	int fd;
	char *unsent;
	size_t first, len;
};

static char buffer[BUFFER];

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int wait_events(int ep, struct epoll_event *events, int64_t spin) {
	if (spin > 0) {
		int64_t end = now() + spin;
		do {
			for (int i = 0; i < 4; i++) {
				int n = epoll_wait(ep, events, BATCH, 0);
				if (n != 0) return n;
			}
		} while (now() < end);
	}
	return epoll_wait(ep, events, BATCH, -1);
}

static void accept_all(int ep, int listener) {
	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) return; // level-triggered: what is left is reported again
		int on = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		struct conn *c = calloc(1, sizeof *c);
		if (c == NULL) fail("calloc");
		c->fd = fd;
		struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
		if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0) fail("epoll_ctl");
	}
}

static void end(struct conn *c) {
	close(c->fd);
	free(c->unsent);
	free(c);
}

// flush sends what is unsent. It returns 0 if all is sent, 1 if the kernel takes no more now, -1 if
// the connection has failed.
static int flush(struct conn *c) {
	while (c->len > 0) {
		ssize_t n = send(c->fd, c->unsent + c->first, c->len, MSG_NOSIGNAL);
		if (n < 0) return errno == EAGAIN ? 1 : -1;
		c->first += n;
		c->len -= n;
	}
	return 0;
}

// echo sends back what there is, and returns -1 if the connection is over. A receive that does not
// fill the buffer has emptied the socket: an edge follows.
static int echo(struct conn *c) {
	for (;;) {
		int state = flush(c);
		if (state != 0) return state < 0 ? -1 : 0;
		ssize_t got = recv(c->fd, buffer, BUFFER, 0);
		if (got < 0) return errno == EAGAIN ? 0 : -1;
		if (got == 0) return -1;
		ssize_t sent = send(c->fd, buffer, got, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN) return -1;
		if (sent < 0) sent = 0;
		if (sent < got) {
			if (c->unsent == NULL && (c->unsent = malloc(BUFFER)) == NULL) fail("malloc");
			c->first = 0;
			c->len = got - sent;
			__builtin_memcpy(c->unsent, buffer + sent, c->len);
		} else if (got < BUFFER) {
			return 0;
		}
	}
}

int main(int argc, char **argv) {
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: epoll_echo PORT [SPIN]\n");
		return 2;
	}
	int64_t spin = argc > 2 ? atoll(argv[2]) * 1000 : 0;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	if (listener < 0) fail("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0) fail("bind");
	if (listen(listener, 4096) < 0) fail("listen");
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN}, events[BATCH];
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) < 0) fail("epoll");
	for (;;) {
		int n = wait_events(ep, events, spin);
		if (n < 0 && errno != EINTR) fail("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			if (c == NULL) accept_all(ep, listener);
			else if (echo(c) < 0) end(c);
		}
	}
}
