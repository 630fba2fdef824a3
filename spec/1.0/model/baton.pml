/* Parent replacement: an old and a new parent, a worker of each, one listener (BC-BATON-01, BC-BATON-02).
 *
 * The old parent stops watching, waits until none of its orders is unanswered, closes its end of the baton and then
 * drains its worker. The new one watches after it has read end-of-file from the baton. The old one may die at any time, which
 * closes the baton, too. `slack` counts as in pool.pml: no order without a connection, or an excuse, of its own.
 */

#ifndef C
#define C 3
#endif

#define OLD	0
#define NEW	1

byte q;
bit edge[2];
bit lives[2] = { 1, 1 };	/* parents */
bit watching[2];
bit baton = 1;			/* the old parent holds its end */
bit order[2];			/* the worker of each parent owes an answer */
bit unread[2];			/* the answer that its parent has not read */
byte slack;
byte left = C;

#define stranded (q > 0 && lives[NEW] && left == 0)

ltl served { []<> !stranded }

inline may_order(p)
{
	d_step { watching[p] && lives[p] && edge[p] && !order[p] && !unread[p] ->
		edge[p] = 0;
		if
		:: q > 0 ->
			printf("parent %d: %d pending, orders\n", p, q);
			assert(slack > 0);	/* one wake-up for a connection */
			slack--;
			order[p] = 1
		:: else
		fi
	}
}

inline reads(p)
{
	d_step { lives[p] && unread[p] -> unread[p] = 0; edge[p] = 1 }
}

proctype Old()
{
end:
	do
	:: may_order(OLD)
	:: reads(OLD)
	:: lives[OLD] && watching[OLD] -> printf("old parent: hands over\n"); watching[OLD] = 0; break
	:: d_step { lives[OLD] ->
		printf("old parent: dies\n");
		slack = slack + order[OLD];	/* what it had ordered is excused by its death */
		lives[OLD] = 0; baton = 0; watching[OLD] = 0
	   }; goto gone
	od;
	do
#ifndef CLOSE_BEFORE_ANSWERS
	:: !order[OLD] && !unread[OLD] -> break
	:: reads(OLD)
#else
	:: break
#endif
	od;
	printf("old parent: closes the baton\n");
	baton = 0;
gone:
	skip
}

proctype New()
{
#ifndef NO_BATON
end0:
	!baton;
#endif
	printf("new parent: watches\n");
	d_step { watching[NEW] = 1; edge[NEW] = 1 };	/* a listener added to a poller that is readable fires at once */
end:
	do
	:: may_order(NEW)
	:: reads(NEW)
	od
}

proctype Worker(byte p)
{
end:
	do
	:: d_step { order[p] ->
		order[p] = 0;
		if
		:: q > 0 -> printf("worker of parent %d: takes one\n", p); q--
		:: else -> printf("worker of parent %d: nothing was pending\n", p)
		fi;
		unread[p] = 1
	   }
	od
}

proctype Clients()
{
end:
	do
	:: d_step { left > 0 -> printf("client: connects\n"); left--; q++; slack++; edge[OLD] = 1; edge[NEW] = 1 }
	od
}

init {
	watching[OLD] = 1;
	atomic { run Old(); run New(); run Worker(OLD); run Worker(NEW); run Clients() }
}
