/* Several listeners, one worker of capacity 1: none may starve (BC-PICK-04).
 *
 * Listener 0 never runs dry for long: a new client comes as often as it likes. Each of the others has one connection
 * that waits. The parent goes on with the next listener after each order; without that (NO_ROTATION) it goes through
 * them from the first one each time.
 */

#ifndef LISTENERS
#define LISTENERS 3
#endif

byte q[LISTENERS];
byte turn;
bit free = 1;			/* the worker has room */
byte ordered = LISTENERS;	/* the listener of its order; LISTENERS: none */

#define waits	(q[LISTENERS - 1] > 0)

ltl fair { []<> !waits }

proctype Parent()
{
	byte at, tries;
end:
	do
	:: d_step { free && ordered == LISTENERS ->
#ifdef NO_ROTATION
		at = 0;
#else
		at = turn;
#endif
		tries = 0;
		do
		:: tries < LISTENERS && q[at] == 0 -> at = (at + 1) % LISTENERS; tries++
		:: else -> break
		od;
		if
		:: q[at] > 0 ->
			printf("parent: orders for listener %d\n", at);
			ordered = at;
			turn = (at + 1) % LISTENERS
		:: else
		fi;
		at = 0; tries = 0
	   }
	od
}

proctype Worker()
{
end:
	do
	:: d_step { ordered < LISTENERS -> printf("worker: takes one\n"); q[ordered]--; ordered = LISTENERS; free = 0 }
	:: d_step { !free -> printf("worker: it has ended\n"); free = 1 }
	od
}

proctype Crowd()		/* the clients of listener 0 */
{
end:
	do
	:: d_step { q[0] == 0 -> printf("client: connects to listener 0\n"); q[0]++ }
	od
}

init {
	byte at = 1;
	d_step {
		do
		:: at < LISTENERS -> q[at] = 1; at++
		:: else -> break
		od;
		q[0] = 1
	}
	atomic { run Parent(); run Worker(); run Crowd() }
}
