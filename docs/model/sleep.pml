/*
 * How a Wait sleeps on epoll, and how Notify and NotifyAll wake it:
 * internal/selector/epoll/sleep_linux.go, translate and pollNow of
 * epoll_linux.go, the wakeQueue and Poll.wait of internal/queue. README.md
 * lists which code each part models. Each atomic block is one atomic operation,
 * one system call or one critical section; all other steps interleave freely.
 *
 * Each MISTAKE_ seeds an error into the model; check.sh checks that it is found.
 */

#ifndef FOREVER /* number of waiters without a deadline; 1 or more */
#define FOREVER 2
#endif
#ifndef TIMED /* number of waiters with a deadline */
#define TIMED 1
#endif
#ifndef WAKES /* number of processes that call Wake once; 1 or more */
#define WAKES 2
#endif
#ifndef EDGES /* how often a source becomes ready */
#define EDGES 1
#endif
#ifndef EXPIRIES /* how many timers fire; the others never do */
#define EXPIRIES 1
#endif
#define WAITERS (FOREVER + TIMED)
/*
 * CLOSE_AT_ANY_TIME: Close may come at any time; otherwise when no process can move.
 * BLOCK_THREAD: waiters block their threads instead of parking in Go's poller.
 */

/* sleepers */
bool notified, ending, leading;
byte blocked;
bool expired; /* only the leader uses it */
bool hasLeader;
byte follower[WAITERS], followers; /* a stack of waiters */
bool turn[WAITERS];

/* Package queue: wakers that are pending, and the gate's bit. */
byte wakes;
bool closedBit;

/* The kernel's ready list: wakefd, and sources. */
bool wakeReady;
byte sourceReady;

/* Go's poller: whether it has seen the list grow, and the file's read deadline. */
bool netReady;
mtype = { none, future, past };
mtype deadline = none;

byte expiries = EXPIRIES;
byte inside; /* waiters in Wait */

#define noticed (notified || ending)

inline eventfdAdd() { d_step { wakeReady = true; netReady = true } }

inline wakeBlocked() {
	if
	:: blocked > 0 -> eventfdAdd()
	:: else
	fi
}

inline wake() {
	if
	:: leading -> deadline = past
	:: else -> wakeBlocked()
	fi
}

inline notify() {
	d_step { old = notified; notified = true };
	if
	:: !old -> wake()
	:: else
	fi;
	old = false
}

inline takeNotice(res) {
	d_step { res = notified; notified = false };
	if
	:: !res -> res = ending
	:: else
	fi
}

/* One epoll_wait that does not sleep: takes any part of the list, as the buffer may be short. */
#define anyReady (wakeReady || sourceReady > 0)
inline take() {
	if
	:: wakeReady -> wakeReady = false; gotWake = true
	:: sourceReady > 0 -> sourceReady--; n = 1
	:: wakeReady && sourceReady > 0 ->
		wakeReady = false; gotWake = true; sourceReady--; n = 1
	:: !anyReady
	fi
}

inline translate() {
	if
	:: gotWake ->
		gotWake = false;
#ifndef MISTAKE_WAKE_NOT_PASSED_ON
		if
		:: noticed -> eventfdAdd()
		:: else
		fi
#endif
	:: else
	fi
}

/* Poll.takeWakes with space for one event. */
inline takeWakes() {
	d_step {
		if
		:: wakes > 0 -> wakes--; n = 1; more = wakes > 0
		:: else
		fi
	};
	if
	:: more -> more = false; notify()
	:: else
	fi
}

/* This deadline may overwrite that of Notify, or be overwritten by it. */
inline arm(timed) {
	d_step { deadline = (timed && expiries > 0 -> future : none); expired = false }
}

/* Calls Wait repeatedly, until the queue is closed or the caller stops. */
proctype waiter(byte me; bool timed) {
	bool old, more, gotWake, done, timeUp;
	byte n, i;

call:
	if
	:: closedBit -> goto out
	:: else
	fi;
	d_step { n = 0; done = false; timeUp = false };

	/* Poll.wait: with wakes pending it does not sleep; it may take wakes first, or not. */
	if
	:: wakes > 0 ->
		if
		:: takeWakes()
		:: skip
		fi;
		if
		:: n == 0 -> atomic { take() }; translate()
		:: else
		fi;
		goto woken
	:: else
	fi;

	/* Selector.wait */
	atomic { take() };
	translate();
	if
	:: n > 0 -> goto woken
	:: else
	fi;
#ifdef BLOCK_THREAD
	goto block;
#endif

follow:
	if
	:: timed -> goto block /* tailTime or less is left */
	:: true
	fi;
	atomic {
		if
		:: !hasLeader -> hasLeader = true; goto park
		:: else -> follower[followers] = me; followers++
		fi
	};
	if
	:: d_step { turn[me] -> turn[me] = false }
	:: atomic {
			timed && expiries > 0 -> expiries--;
			i = 0;
			do
			:: i < followers && follower[i] != me -> i++
			:: else -> break
			od;
			if
			:: i < followers ->
				do
				:: i + 1 < followers -> follower[i] = follower[i + 1]; i++
				:: else -> break
				od;
				i = 0; followers--; follower[followers] = 0;
				goto block
			:: else -> i = 0
			fi
		};
		d_step { turn[me] -> turn[me] = false } /* made the leader while the timer fired */
	fi;

park:
#ifdef MISTAKE_LOOK_BEFORE_LEADING
	done = noticed;
	leading = true;
#else
	leading = true;
#endif
	if
	:: expired -> arm(timed)
	:: !expired && timed -> arm(timed)
	:: !expired /* the deadline that is set may stay */
	fi;

read: /* RawConn.Read: prepareRead, then try and waitRead in turn */
	atomic {
		if
		:: deadline == past -> goto exceeded
		:: else -> netReady = false
		fi
	};
try:
#ifdef MISTAKE_LOOK_BEFORE_LEADING
	if
	:: done -> done = false; goto parked
	:: else
	fi;
#else
	if
	:: noticed -> goto parked
	:: else
	fi;
#endif
#ifdef MISTAKE_DEADLINE_CLEARED_AFTER_LOOK
	arm(timed);
#endif
	atomic {
		take();
		if
		:: n > 0 || gotWake -> goto parked
		:: else
		fi
	};
	if
	:: deadline == past -> goto exceeded
	:: d_step { netReady -> netReady = false }; goto try
	fi;

exceeded:
	if
	:: timed -> expired = true; timeUp = true; goto parked
#ifdef MISTAKE_LOOK_BEFORE_LEADING
	:: true -> arm(timed); done = noticed; goto read
#else
	:: true -> arm(timed); goto read
#endif
	fi;

parked:
	leading = false;
	translate();
	if
	:: n == 0 -> takeNotice(done)
	:: else -> done = true
	fi;

	/* resign */
	d_step {
		if
#ifndef MISTAKE_NO_NEW_LEADER
		:: followers > 0 ->
			followers--; i = follower[followers]; follower[followers] = 0;
			more = true
#endif
		:: else -> hasLeader = false
		fi
	};
	if
	:: more -> d_step { turn[i] = true; more = false; i = 0 }
	:: else ->
#ifndef MISTAKE_RESIGNED_IN_SILENCE
		if
		:: noticed -> wakeBlocked()
		:: else
		fi
#endif
	fi;
	if
	:: done -> timeUp = false; goto woken
	:: !done && timed -> timeUp = false; goto block
	:: !done && !timeUp -> goto follow
	fi;

block:
#ifdef MISTAKE_LOOK_BEFORE_BLOCKED
	if
	:: noticed -> takeNotice(done); goto woken
	:: else
	fi;
	blocked++;
#else
	blocked++;
	if
	:: noticed -> blocked--; takeNotice(done); goto woken
	:: else
	fi;
#endif
	if
	:: atomic { anyReady -> take() }
	:: d_step { timed && expiries > 0 -> expiries--; timeUp = true }
	fi;
	blocked--;
	translate();
	if
	:: n > 0 -> goto woken
	:: else
	fi;
	takeNotice(done);
	if
	:: done || timeUp
	:: else -> goto block
	fi;

woken:
	/* Poll.wait, continued */
	if
	:: n == 0 -> takeWakes()
	:: else
	fi;
	if
	:: n == 0 && !timeUp -> goto call
	:: else -> /* Wait returns. Its caller calls it again, or not. */
		if
		:: goto call
		:: goto out
		fi
	fi;
out:
	inside--
}

/* Waker.Wake */
proctype waker() {
	bool old;

	wakes++;
	notify()
}

/* A source that becomes ready wakes the process that polls the epoll descriptor. */
proctype source() { d_step { sourceReady++; netReady = true } }

/* The runtime's timer behind the file's read deadline. */
proctype timer() {
end:
	do
	:: d_step { deadline == future && expiries > 0 -> deadline = past; expiries-- }
	od
}

/* Poll.Close, at any time or when no process can move. */
proctype closer() {
	if
#ifdef CLOSE_AT_ANY_TIME
	:: true
#endif
	:: timeout ->
		/* All waiters in Wait sleep: no notice, waker or event may be left for them. */
		assert(inside == 0 || (!notified && wakes == 0 && sourceReady == 0));
		assert(followers == 0 || hasLeader);
		assert(inside == 0 || hasLeader || blocked == inside)
	fi;
	closedBit = true;
	ending = true;
	wake();
	wakeBlocked()
}

ltl everyWaitEnds { <> (inside == 0 && closedBit) }

init {
	byte i;

	atomic {
		inside = WAITERS;
		for (i : 1 .. FOREVER) { run waiter(i - 1, false) };
#if TIMED
		for (i : 1 .. TIMED) { run waiter(FOREVER + i - 1, true) };
#endif
		for (i : 1 .. WAKES) { run waker() };
#if EDGES
		for (i : 1 .. EDGES) { run source() };
#endif
		run timer();
		run closer()
	}
	/* A waiter that still sleeps after Close is in an invalid end state. */
}
