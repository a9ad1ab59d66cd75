/*
 * mpipe.pml - how a buffer gets to who waits for it, for spin(1).
 *
 * Three users of a pipe of two buffers allocate and free, on any of two CPUs:
 * by the stack of the CPU, in one step as the kernel has it; or by the lock.
 * One of them does not wait, one gives up at a deadline, one waits for ever.
 *
 *   - Nobody is told that no buffer is free while one is (the assertion).
 *   - Nobody waits for ever (no invalid end state).
 *   - No buffer is lost (the assertion at the end).
 *
 * With LOST defined, closing drains the stacks and leaves them open; with
 * LATE, a waiter that gives up forgets what it was given.  Both must be found.
 */
#define BUFFERS 2
#define USERS 3
#define ROUNDS 2

byte free = BUFFERS;
byte stack[2];
bool shut[2] = true;
bool open, closing, locked;
bool given[USERS];
byte ended;
chan line = [USERS] of { byte };

inline enter() { atomic { !locked -> locked = true } }
inline leave() { locked = false }

/* The lock is held, no buffer is free; afterwards it is worth another look. */
inline close() {
	if
	:: closing ->
		leave();
		!closing;
		enter()
	:: else ->
		open = false;
		closing = true;
		leave();
		cpu = 0;
		do
		:: cpu < 2 ->
			atomic {
#ifndef LOST
				shut[cpu] = true;
#endif
				drained = drained + stack[cpu];
				stack[cpu] = 0
			}
			cpu++
		:: else -> break
		od;
		enter();
		free = free + drained;
		drained = 0;
		closing = false
	fi
}

/* The lock is held: to the oldest waiter, or to all. */
inline give() {
	if
	:: nempty(line) -> line?w; given[w] = true
	:: else -> free++
	fi
}

proctype user(byte me)
{
	byte cpu, drained, w, round;
	bool have, tired;

	do
	:: round < ROUNDS ->
		round++;
		if
		:: cpu = 0
		:: cpu = 1
		fi;
		atomic {
			if
			:: !shut[cpu] && stack[cpu] > 0 ->
				stack[cpu]--;
				have = true
			:: else
			fi
		}
		if
		:: have
		:: else ->
			enter();
			do
			:: free > 0 ->
				free--;
				have = true;
				/* The rest to the stack of this CPU. */
				atomic {
					if
					:: open && shut[cpu] && cpu < 2 ->
						stack[cpu] = free;
						free = 0;
						shut[cpu] = false
					:: else
					fi
				}
				break
			:: free == 0 && (open || closing) -> close()
			:: else -> break
			od;
			assert(have || stack[0] + stack[1] == 0);
			if
			:: have || me == 0 -> leave()
			:: else ->
				line!me;
				leave();
				if
				:: given[me]
				:: me == 1 -> tired = true
				fi;
				if
				:: tired ->
					tired = false;
					enter();
					if
					:: given[me]
					:: else -> line??eval(me)
					fi;
					leave()
				:: else
				fi;
#ifdef LATE
				if
				:: me == 1 -> given[me] = false
				:: else
				fi;
#endif
				have = given[me];
				given[me] = false
			fi
		fi;
		if
		:: !have
		:: else ->
			if
			:: cpu = 0
			:: cpu = 1
			fi;
			have = false;
			atomic {
				if
				:: !shut[cpu] ->
					stack[cpu]++;
					w = USERS
				:: else -> w = 0
				fi
			}
			if
			:: w == USERS
			:: else ->
				enter();
				give();
				/* Used a lot: open it, if nobody waits. */
				if
				:: empty(line) && !closing -> open = true
				:: true
				fi;
				leave()
			fi
		fi
	:: else -> break
	od;
	ended++
}

init {
	atomic {
		run user(0);
		run user(1);
		run user(2)
	}
	ended == USERS;
	assert(free + stack[0] + stack[1] == BUFFERS)
}
