/*
 * The close protocol of a queue: internal/gate/gate.go, and internal/queue and
 * internal/selector/table.go where they use it. README.md lists which code each
 * part models. Each atomic block is one atomic operation, or one critical section,
 * of the Go code; all other steps interleave freely.
 *
 * Each MISTAKE_ seeds an error into the model; check.sh checks that it is found.
 */

/*
 * The processes. check.sh checks several combinations: all processes in one would
 * have too many states for a quick check, and no mistake needs all of them.
 */
#ifndef REGISTRARS
#define REGISTRARS 2
#endif
#ifndef CLOSERS
#define CLOSERS 1
#endif
#ifndef SOURCE_CLOSERS /* 0 or 1: it closes the source of registrar 0 */
#define SOURCE_CLOSERS 0
#endif
#ifndef WAKERS /* 0 or 1 */
#define WAKERS 0
#endif
#define WAITERS 2 /* one waits forever, the other has a timeout */
#define SLOTS   2

/* gate.Gate: the three fields of its word, always accessed together. */
bool closedBit;
byte nShort, nLong;

bool sealed;   /* Poll.sealed is closed */
bool released; /* Selector.Close has been called */
byte inKernel; /* calls in progress on the kernel object, sleepers included */
bool ending;   /* NotifyAll has been called */
bool notified; /* Notify has been called */
byte wakes;    /* wakeQueue */

/* selector.Table. A slot contains the number of its registration, plus one. */
byte slot[SLOTS];
bool changing[SLOTS];
byte drained;

/* The sources: handle.Handle. owned is the slot of the registration, plus one. */
bool locked[REGISTRARS], srcClosed[REGISTRARS];
byte owned[REGISTRARS];

/* Results that the users of the queue have seen. */
bool promised[REGISTRARS]; /* Register has returned nil */
bool gone[REGISTRARS];     /* Deregister, or the source's Close, has removed it */
byte told[REGISTRARS];     /* Closed events */
byte ended;                /* waiters that have got ErrClosed */

inline enter(count, ok) {
#ifdef MISTAKE_TORN_ENTER
	ok = !closedBit;
	if
	:: ok -> count++
	:: else
	fi
#else
	d_step { ok = !closedBit; count = count + (ok -> 1 : 0) }
#endif
}

inline seal() { d_step { assert(!sealed); sealed = true } }

inline release() { d_step { assert(!released && inKernel == 0); released = true } }

/* Gate.Leave, then Poll.leave. */
inline leaveShort() {
#ifdef MISTAKE_TORN_LEAVE
	nShort--;
#endif
	d_step {
#ifndef MISTAKE_TORN_LEAVE
		nShort--;
#endif
		lastShort = closedBit && nShort == 0;
		last = lastShort && nLong == 0
	};
#ifndef MISTAKE_NOBODY_SEALS
	if
	:: lastShort -> seal()
	:: else
	fi;
#endif
	if
	:: last -> release()
	:: else
	fi;
	lastShort = false; last = false
}

inline leaveLong() {
	d_step { nLong--; last = closedBit && nShort == 0 && nLong == 0 };
	if
	:: last -> last = false; release()
	:: else
	fi
}

/* A call on the kernel object takes time: the object must not be released during it. */
inline beginCall() { d_step { assert(!released); inKernel++ } }
inline endCall() { inKernel-- }

/* Data that the lock protects may be read in the same step. */
inline lock(src) { !locked[src] -> locked[src] = true }
inline unlock(src) { locked[src] = false }

inline remove(r, s) {
	d_step { assert(slot[s - 1] == r + 1); slot[s - 1] = 0; gone[r] = true }
}

/* Registrator.Register: on, add. */
inline register() {
	d_step { lock(me); ok = !srcClosed[me] };
	if
	:: ok ->
		enter(nShort, ok);
		if
		:: ok ->
			d_step { /* Insert */
				if
				:: slot[0] == 0 -> mine = 1
				:: slot[0] != 0 -> assert(slot[1] == 0); mine = 2
				fi;
				slot[mine - 1] = me + 1
			};
			beginCall();
			atomic {
				endCall();
				if
				:: owned[me] = mine; promised[me] = true
				:: slot[mine - 1] = 0 /* Add failed */
				fi
			};
			leaveShort()
		:: else
		fi
	:: else
	fi;
	unlock(me)
}

/* Registrator.Reregister: on, modify; Table.Rekey without the lock. */
inline reregister() {
	d_step { lock(me); ok = owned[me] > 0 };
	if
	:: ok ->
		enter(nShort, ok);
		if
		:: ok ->
			changing[owned[me] - 1] = true;
			changing[owned[me] - 1] = false;
			beginCall(); endCall();
			leaveShort()
		:: else
		fi
	:: else
	fi;
	unlock(me)
}

/* Registrator.Deregister, and owner.Release when the source is closed. */
inline deregister(src) {
	if
	:: ok ->
		enter(nShort, ok);
		if
		:: ok ->
			mine = owned[src]; owned[src] = 0;
			remove(src, mine);
			beginCall(); endCall();
			leaveShort()
		:: else
		fi
	:: else
	fi
}

proctype registrar(byte me) {
	bool ok, lastShort, last;
	byte mine;

	register();
	if
	:: reregister()
	:: d_step { lock(me); ok = owned[me] > 0 }; deregister(me); unlock(me)
	:: skip
	fi
}

/* Handle.Close by another goroutine than the one that registers. */
proctype sourceCloser(byte src) {
	bool ok, lastShort, last;
	byte mine;

	d_step { lock(src); srcClosed[src] = true; ok = owned[src] > 0 };
	deregister(src);
	unlock(src)
}

/* Waker.Wake. */
proctype waker() {
	bool ok, lastShort, last;

	enter(nShort, ok);
	if
	:: ok ->
		wakes++;
		beginCall(); notified = true; endCall();
		leaveShort()
	:: else
	fi
}

/* Poll.Close. The second call returns ErrClosed, whenever it comes. */
proctype closer() {
	bool ok, first, lastShort, last;

#ifdef MISTAKE_CLOSER_NOT_COUNTED
	ok = true;
#else
	enter(nLong, ok);
#endif
	if
	:: ok ->
		d_step {
			first = !closedBit;
			closedBit = true;
			lastShort = first && nShort == 0;
			last = lastShort && nLong == 0
		};
#ifndef MISTAKE_CLOSER_NOT_COUNTED
		assert(!last);
#endif
		if
		:: lastShort -> seal()
		:: else
		fi;
		if
		:: first ->
			beginCall();
#ifndef MISTAKE_NOBODY_WOKEN
			ending = true;
#endif
			endCall()
		:: else
		fi;
#ifdef MISTAKE_CLOSER_NOT_COUNTED
		if
		:: last -> release()
		:: else
		fi
#else
		leaveLong()
#endif
	:: else
	fi
}

/* Table.Drain with space for one token. */
inline drain() {
#ifdef MISTAKE_DRAIN_WITHOUT_LOCK
	got = 0;
	do
	:: d_step { drained < SLOTS && got == 0 -> at = drained };
		got = slot[at];
		if
		:: got > 0 -> told[got - 1]++; slot[at] = 0
		:: else
		fi;
		drained = at + 1
	:: else -> break
	od
#else
	d_step {
		got = 0;
		do
		:: drained < SLOTS && got == 0 ->
			got = slot[drained];
			if
			:: got > 0 -> assert(!changing[drained]); told[got - 1]++; slot[drained] = 0
			:: else
			fi;
			drained++
		:: else -> break
		od
	}
#endif
}

/* A goroutine that calls Poll.Wait until it returns ErrClosed. */
proctype waiter(bool forever) {
	bool ok, last;
	byte n, got;
#ifdef MISTAKE_DRAIN_WITHOUT_LOCK
	byte at;
#endif

again:
	enter(nLong, ok);
	if
	:: ok ->
sleep:
		beginCall();
		atomic {
			if
			:: ending
			:: notified -> notified = false
			:: slot[0] + slot[1] > 0 -> n = 1 /* a source is ready */
			:: !forever
			fi;
			endCall()
		};
#if WAKERS
		d_step {
			if
			:: wakes > 0 -> wakes = 0; n = 1
			:: else
			fi
		};
#endif
		if
#ifdef MISTAKE_CLOSED_NOT_LOOKED_AT
		:: n == 0 && forever -> goto sleep
#else
		:: n == 0 && forever && !closedBit -> goto sleep
#endif
		:: else
		fi;
		leaveLong();
		if
		:: n > 0 || !closedBit -> n = 0; goto again
		:: else
		fi
	:: else
	fi;
	/* Poll.drain */
#ifndef MISTAKE_DRAIN_BEFORE_SEALED
	sealed;
#endif
	drain();
	if
	:: got > 0 -> got = 0; goto again
	:: else
	fi;
	ended++
}

ltl everyWaitEnds { <> (ended == WAITERS) }

init {
	byte i;

	atomic {
		for (i : 1 .. REGISTRARS) { run registrar(i - 1) };
#if SOURCE_CLOSERS
		run sourceCloser(0);
#endif
#if WAKERS
		run waker();
#endif
		for (i : 1 .. CLOSERS) { run closer() };
		run waiter(true);
		run waiter(false)
	};
	/* If a process is blocked, init blocks here, in an invalid end state. */
	_nr_pr == 1;
	assert(closedBit && sealed && released && nShort == 0 && nLong == 0);
	assert(ended == WAITERS);
	for (i : 0 .. REGISTRARS - 1) {
		assert(told[i] == (promised[i] && !gone[i] -> 1 : 0))
	}
}
