/* One listener, its backlog, a parent and W workers: every interleaving of orders, answers, deadlines and faults.
 *
 * The kernel is `q`, the number of pending connections. The parent's reading of the pending count is `q` at the moment of dispatch, in
 * one atomic step with the orders that rely on it. Time is not modelled: a deadline may pass whenever its order is
 * unanswered and the worker's channel has been read (BC-PASS-02), so that slow, stopped and dead workers are included
 * alike. Figures and states are named as in the specification: in_flight, owed, passed over, READY, SUSPECT.
 *
 * Each rule that looks fussy can be left out by a macro, and then something below fails: see variants.toml. What is not
 * modelled at all is listed in spec/1.0/model.rst.
 */

#ifndef W
#define W 2			/* workers */
#endif
#ifndef C
#define C 3			/* connections that arrive */
#endif
#ifndef CAP
#define CAP 1			/* capacity of each worker */
#endif
#ifndef F
#define F 2			/* things that go wrong, of whatever kind */
#endif

#define NONE	0		/* order: */
#define LIVE	1
#define EXPIRED	2

#define SHORT	1		/* outcome: */
#define TOOK	2
#define REFUSED	3

mtype = { READY, SUSPECT, DRAINING, EXITED };
mtype = { ACCEPT, EOF };
mtype = { BUSY, STATUS };

/* the kernel */
byte q;				/* pending connections */
bit edge;			/* the edge-triggered watch has fired */
chan down0 = [2] of { mtype };
chan down1 = [2] of { mtype };
chan up0 = [3] of { mtype, byte, byte, byte };	/* type, outcome of the order, open, capacity */
chan up1 = [3] of { mtype, byte, byte, byte };
#if W > 2
chan down2 = [2] of { mtype };
chan up2 = [3] of { mtype, byte, byte, byte };
#endif
chan down[W];
chan up[W];

/* the workers, as they are */
bit alive[W];
bit hung[W];
bit broken[W];
byte held[W];
byte wcap[W];
bit due[W];			/* a status is due */
byte ans[W];			/* the order under way: 0, none; else the outcome of its attempts, not yet answered */

/* the parent's slots and backlog */
mtype st[W];
byte fig[W];			/* open, as reported */
byte cap[W];
byte ord[W];
bit again[W];
bit passed[W];
#ifdef WAIT_FOR_IDLE
bit unsure[W];
#endif
byte in_flight;
byte owed;
bit retrying;
bit dirty;
#ifdef STALE_COUNT
byte pending;
#endif

/* connections that have arrived, plus what excuses another order, less orders: no order is ever without a cause */
byte slack;

byte faults = F;

#define may_be_chosen(w)	(st[w] == READY && ord[w] == NONE && fig[w] < cap[w] SURE(w))
#ifdef WAIT_FOR_IDLE
#define SURE(w)	&& !unsure[w]
#elif defined(FREE_AT_DEADLINE)
#define SURE(w)	&& nfull(down[w])	/* it may be ordered over and over: not to fill the channel here */
#else
#define SURE(w)
#endif

#define fit(w)		(alive[w] && !hung[w] && !broken[w] && held[w] < wcap[w] && st[w] == READY)
#if W == 2
#define somebody	(may_be_chosen(0) || may_be_chosen(1))
#define anybody_fit	(fit(0) || fit(1))
#else
#define somebody	(may_be_chosen(0) || may_be_chosen(1) || may_be_chosen(2))
#define anybody_fit	(fit(0) || fit(1) || fit(2))
#endif

/* a pending connection, and a worker that is ready, not suspect, and has room */
#define stranded	(q > 0 && anybody_fit)
/* a pending connection without an order, and such a worker */
#define unordered	(q > in_flight && anybody_fit)
#define known(w)	(!alive[w] || hung[w] || (fig[w] == held[w] && cap[w] == wcap[w]))

ltl served	{ []<> !stranded }
ltl noticed	{ []<> !unordered }
#if W == 2
ltl loads	{ []<> (known(0) && known(1)) }
#else
ltl loads	{ []<> (known(0) && known(1) && known(2)) }
#endif

/* ------------------------------------------------------------------------------------------------- the parent */

inline not_in_flight(w)
{
	in_flight--;
	if
	:: again[w] -> retrying = 0
	:: else
	fi
}

inline order_ends(w)		/* it was answered, or its worker is gone */
{
	if
	:: ord[w] == LIVE -> not_in_flight(w)
	:: ord[w] == EXPIRED -> owed = (owed > 0 -> owed - 1 : 0)
	:: else
	fi;
	ord[w] = NONE;
	again[w] = 0;
	dirty = 1
}

inline drain(w)
{
	printf("parent: drains worker %d\n", w);
	st[w] = DRAINING;
	down[w]!EOF
}

inline forget(w)		/* what a process leaves behind */
{
	alive[w] = 0;
	held[w] = 0;
	due[w] = 0;
	ans[w] = 0;
	do
	:: len(down[w]) > 0 -> down[w]?_
	:: else -> break
	od
}

inline spawn(w)
{
	printf("parent: a new worker %d\n", w);
	alive[w] = 1;
	hung[w] = 0;
	broken[w] = 0;
	wcap[w] = CAP;
	st[w] = READY;
	fig[w] = 0;
	cap[w] = CAP;
	passed[w] = 0
#ifdef WAIT_FOR_IDLE
	; unsure[w] = 0
#endif
}

#ifdef LATE_IS_FORGIVEN
#define LATE_TOO	&& ord[w] == LIVE
#else
#define LATE_TOO
#endif

inline report(w)		/* one report is read */
{
	up[w]?kind, outcome, open, capacity;
	printf("parent: reads %e of worker %d, open %d, capacity %d\n", kind, w, open, capacity);
	fig[w] = open;
	cap[w] = capacity;
	dirty = 1;
	if
	:: kind == BUSY ->
#ifndef FREE_AT_DEADLINE
		assert(ord[w] != NONE);
#endif
#ifdef WAIT_FOR_IDLE
		unsure[w] = 1;
#endif
		if
		:: outcome != TOOK LATE_TOO ->
			passed[w] = 1;
			slack = slack + (outcome == SHORT && ord[w] == LIVE)
		:: else
		fi;
		order_ends(w);
		if
		:: st[w] == SUSPECT -> st[w] = READY
		:: else
		fi
	:: else ->
#ifdef WAIT_FOR_IDLE
		unsure[w] = 0;
#endif
		skip
	fi;
	if
	:: capacity == 0 && (st[w] == READY || st[w] == SUSPECT) -> drain(w)
	:: else
	fi
}

inline reap(w)			/* waitpid has returned it, and its channel has been read */
{
	if
	:: ord[w] == LIVE -> slack++
	:: else
	fi;
#ifdef LOST_AT_EOF
	ord[w] = NONE;
	again[w] = 0;
#else
	order_ends(w);
#endif
	do
	:: len(down[w]) > 0 -> down[w]?_	/* sent after it had died */
	:: else -> break
	od;
	printf("parent: worker %d has exited\n", w);
	st[w] = EXITED
}

inline choose()			/* the lowest slot that may be chosen and is not passed over; else all may be chosen again */
{
	best = W;
	w = 0;
	do
	:: w < W && best == W ->
		if
#ifdef NO_PASSING_OVER
		:: may_be_chosen(w) -> best = w
#else
		:: may_be_chosen(w) && !passed[w] -> best = w
#endif
		:: else
		fi;
		w++
	:: else -> break
	od;
	if
	:: best == W ->
		w = 0;
		do
		:: w < W ->
			if
			:: may_be_chosen(w) ->
				passed[w] = 0;
				best = (best == W -> w : best)
			:: else
			fi;
			w++
		:: else -> break
		od
	:: else
	fi
}

inline dispatch()
{
	dirty = 0;
#ifdef STALE_COUNT
#define COUNT	pending
	pending = (edge -> q : pending);
#else
#define COUNT	q
#endif
	edge = 0;
	if
	:: COUNT == 0 ->
		owed = 0;
		w = 0;
		do
		:: w < W -> passed[w] = 0; w++
		:: else -> break
		od
	:: else
	fi;
	do
	:: COUNT > in_flight + owed || (COUNT > in_flight && !retrying) ->
		choose();
		if
		:: best == W -> dirty = 1; break
		:: else ->
			if
			:: COUNT > in_flight + owed -> again[best] = 0
			:: else -> again[best] = 1; retrying = 1; owed--
			fi;
			in_flight++;
			printf("parent: orders worker %d; pending %d, in flight %d\n", best, q, in_flight);
			assert(in_flight <= q);				/* never a blind order (BC-PEND-01, BC-PEND-02) */
			assert(slack > 0);			/* one wake-up for a connection (BC-HERD-01) */
			slack--;
			assert(st[best] == READY && fig[best] < cap[best] && ord[best] == NONE);
			ord[best] = LIVE;
			assert(nfull(down[best]));		/* the parent never waits (BC-CHAN-07) */
			down[best]!ACCEPT
		fi
	:: else -> break
	od;
	best = 0; w = 0;
	audit()
}

inline audit()			/* reservations never leak */
{
	sum = 0; agains = 0;
	do
	:: w < W -> sum = sum + (ord[w] == LIVE); agains = agains + (ord[w] == LIVE && again[w]); w++
	:: else -> break
	od;
#ifndef LOST_AT_EOF
	assert(sum == in_flight);
	assert(agains == retrying);
#endif
	w = 0; sum = 0; agains = 0
}

#ifdef LEVEL_DISARMED
#define to_dispatch	(q > 0 && in_flight == 0 && somebody)
#else
#define to_dispatch	((edge || dirty) && somebody)
#endif

#define news(w)	(nempty(up[w]) || !alive[w])
#if W > 2
#define NEWS2	|| news(2)
#else
#define NEWS2
#endif

inline attend(w)
{
	d_step {
		if
		:: len(up[w]) > 0 -> report(w); kind = 0; outcome = 0; open = 0; capacity = 0
		:: len(up[w]) == 0 && st[w] != EXITED && !alive[w] -> reap(w)
		:: len(up[w]) == 0 && st[w] == EXITED -> spawn(w); dirty = 1
		:: else
		fi
	}
}

proctype Parent()
{
	mtype kind;
	byte outcome, open, capacity, best, w, sum, agains;
end:
	do
	:: news(0) || news(1) NEWS2 || to_dispatch ->	/* one pass (BC-PASS-01): read, then dispatch */
		attend(0);
		attend(1);
#if W > 2
		attend(2);
#endif
		d_step {
			if
			:: to_dispatch -> dispatch()
			:: else
			fi
		}
	:: d_step { faults > 0 && (st[0] == READY || st[0] == SUSPECT) -> faults--; drain(0) }
	:: d_step { faults > 0 && (st[1] == READY || st[1] == SUSPECT) -> faults--; drain(1) }
#if W > 2
	:: d_step { faults > 0 && (st[2] == READY || st[2] == SUSPECT) -> faults--; drain(2) }
#endif
	od
}

#ifdef JUDGE_FIRST
#define has_been_read(w)	1
#else
#define has_been_read(w)	empty(up[w])
#endif

proctype Deadlines(byte w)	/* part of the parent; a process of its own, so that fairness makes time pass */
{
end:
	do
#ifndef NO_DEADLINE
	:: d_step { ord[w] == LIVE && has_been_read(w) ->	/* order_deadline: it expires */
		printf("deadline: the order of worker %d has expired\n", w);
		not_in_flight(w);
#ifdef FREE_AT_DEADLINE
		ord[w] = NONE;
		again[w] = 0;
#else
		ord[w] = EXPIRED;
		again[w] = 0;
		owed++;
		st[w] = (st[w] == READY -> SUSPECT : st[w]);
#endif
		slack++;
		dirty = 1
	   }
#endif
	/* silence_deadline is so long that a worker which was not stopped has answered by then */
	:: d_step { st[w] == SUSPECT && alive[w] && has_been_read(w) && (hung[w] || (empty(down[w]) && ans[w] == 0)) ->
		printf("deadline: worker %d is killed for its silence\n", w);
		assert(hung[w]);	/* only a worker that is stopped is killed for its silence */
		forget(w);
		do
		:: len(up[w]) > 0 -> up[w]?_, _, _, _
		:: else -> break
		od;
		skip
	   }
	od
}

/* ------------------------------------------------------------------------------------------------ the workers */

proctype Worker(byte w)
{
	bit eof;
end:
	do
	:: d_step { alive[w] && !hung[w] && ans[w] == 0 && !eof && down[w]?[ACCEPT] ->
		down[w]?ACCEPT;
		if
#ifdef REFUSE_AFTER_CUT
		:: wcap[w] == 0 -> printf("worker %d: refuses\n", w); ans[w] = REFUSED
		:: wcap[w] > 0 && q > 0 && !broken[w] ->
#else
		:: q > 0 && !broken[w] ->
#endif
			q--;
			printf("worker %d: takes one, holds %d\n", w, held[w] + 1);
			assert(held[w] < CAP);	/* room is never overfilled (BC-LOAD-02) */
			held[w]++;
			ans[w] = TOOK
		:: else -> printf("worker %d: takes none\n", w); ans[w] = SHORT	/* the queue was empty, or no descriptor was left */
		fi
	   }
	:: d_step { alive[w] && !hung[w] && ans[w] > 0 && nfull(up[w]) ->
		printf("worker %d: answers\n", w);
		up[w]!BUSY, ans[w], held[w], wcap[w];
		ans[w] = 0;
		due[w] = 0
	   }
	:: d_step { alive[w] && !hung[w] && held[w] > 0 ->	/* a connection ends */
#ifdef SILENT_GONE
		/* urgent when full, or when it was the last one that the parent knows of room for */
		due[w] = due[w] || held[w] == wcap[w];
#else
		due[w] = 1;
#endif
		held[w]--;
		printf("worker %d: one ends, holds %d\n", w, held[w])
	   }
	:: d_step { alive[w] && !hung[w] && ans[w] == 0 && due[w] && nfull(up[w]) ->
		printf("worker %d: reports\n", w);
		up[w]!STATUS, 0, held[w], wcap[w];
		due[w] = 0
	   }
	:: d_step { alive[w] && !hung[w] && ans[w] == 0 && down[w]?[EOF] -> down[w]?EOF; eof = 1 }
	:: d_step { alive[w] && !hung[w] && eof && held[w] == 0 && !due[w] -> forget(w); eof = 0 }
	:: d_step { !alive[w] && eof -> eof = 0 }
	od
}

/* ------------------------------------------------------------------------------------- clients, and what goes wrong */

proctype Clients()
{
	byte left = C;
end:
	do
	:: d_step { left > 0 -> printf("client: connects\n"); left--; q++; edge = 1; slack++ }
	:: d_step { faults > 0 && q > 0 -> printf("client: leaves\n"); faults--; q-- }	/* one leaves before it was accepted */
	od
}

inline pick()
{
	faults--;
	select(w : 0 .. W - 1)
}

proctype Faults()
{
	byte w;
	bit goes_on = 1;
end:
	do
	:: atomic { faults > 0 -> pick(); if :: alive[w] -> printf("fault: worker %d dies\n", w); forget(w) :: else fi; w = 0 }
	:: atomic { faults > 0 -> pick(); printf("fault: worker %d stops\n", w); hung[w] = alive[w]; w = 0 }
	:: atomic { goes_on && hung[0] -> printf("fault: worker 0 goes on\n"); hung[0] = 0 }	/* and answers late */
	:: atomic { goes_on && hung[1] -> printf("fault: worker 1 goes on\n"); hung[1] = 0 }
#if W > 2
	:: atomic { goes_on && hung[2] -> printf("fault: worker 2 goes on\n"); hung[2] = 0 }
#endif
	:: atomic { faults > 0 -> pick(); printf("fault: worker %d has no descriptors\n", w); broken[w] = alive[w]; w = 0 }
	:: atomic { faults > 0 -> pick();
		if :: alive[w] && !hung[w] && wcap[w] > 0 -> printf("worker %d: wants no more\n", w); wcap[w] = 0; due[w] = 1 :: else fi; w = 0 }
	:: d_step { goes_on -> faults = 0; goes_on = 0 }					/* no more of it */
	od
}

init {
	d_step {
		down[0] = down0; up[0] = up0; down[1] = down1; up[1] = up1;
#if W > 2
		down[2] = down2; up[2] = up2;
#endif
		spawn(0);
		spawn(1)
#if W > 2
		; spawn(2)
#endif
	}
	atomic {
		run Parent();
		run Deadlines(0); run Worker(0);
		run Deadlines(1); run Worker(1);
#if W > 2
		run Deadlines(2); run Worker(2);
#endif
		run Clients();
		run Faults()
	}
}
