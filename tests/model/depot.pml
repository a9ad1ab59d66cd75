/*
 * depot.pml - how magazines go between CPUs, their depot and a drain, for
 * spin(1).
 *
 * Two users of a cache, each on any of two CPUs and elsewhere at every step,
 * allocate and free; what misses goes to the magazine behind, to the shelf of
 * the CPU, to the other shelf if that has two, and to the slabs.  A third thread
 * empties both CPUs.  A magazine has two rounds; a top is a magazine and how
 * many rounds are below, or 0: the null block, which is empty and full.
 *
 * A sequence is a step that looks and one that commits.  Who begins another on
 * that CPU meanwhile, or the fence of a drain, has stopped it.  To be moved, or
 * interrupted for no reason, is as good as a miss.
 *
 *   - No object is handed out, flushed or filled in twice, and none is lost.
 *   - No magazine is in two places, and none is lost.
 *   - No object on its way into a magazine is taken for one freed twice.
 *
 * The last full magazine of another CPU's shelf is left there even when memory
 * is short, as are those that CPUs have: to fail then is no mistake.
 *
 * With FENCE defined, a drain does without its fence; with BLIND, an exchange
 * does not look whether the top is still the old one; with ABOVE, what a drain
 * takes keeps the words above its top.  All must be found.
 */
#define USERS 2
#define OBJECTS 3
#define MAGS 4
#define ATTEMPTS 1

#define TOP(m, n) (1 + 3 * (m) + (n))
#define MAG(top) (((top) - 1) / 3)
#define COUNT(top) (((top) - 1) % 3)
#define EMPTY(top) ((top) == 0 || COUNT(top) == 0)
#define FULL(top) ((top) == 0 || COUNT(top) == 2)
/* Of the round below the top, and of the one above. */
#define BELOW(top) round[2 * MAG(top) + COUNT(top) - 1]
#define ABOVE_IT(top) round[2 * MAG(top) + COUNT(top)]

/* Where an object is, by its number, which is not 0. */
#define SLAB 0
#define KEPT 1
#define USED 2
byte where[OBJECTS + 1];

/* Where a magazine is; on a shelf: with the number of the CPU added. */
#define NOWHERE 0
#define OURS 1
#define LOADED 2
#define SHELF_FULL 3
#define SHELF_EMPTY 5
byte place[MAGS];
byte round[2 * MAGS];

/* Of each CPU. */
byte loaded[2], behind[2];
bool away[2];
byte running[2]; /* whose sequence; 0: nobody's */
byte ended;

/* ---- objects and magazines ---- */

inline object_moves(object, from, to) {
	assert(object != 0 && where[object] == from);
	where[object] = to
}

inline mag_moves(mag, from, to) {
	assert(place[mag] == from);
	place[mag] = to
}

/* The first magazine that is there, MAGS: none; at least so many must be. */
inline mag_find(mag, there, least) {
	mag = 0;
	n = 0;
	do
	:: mag < MAGS -> n = n + (place[mag] == there); mag++
	:: else -> break
	od;
	if
	:: n < least ->
		mag = MAGS
	:: else ->
		mag = 0;
		do
		:: mag < MAGS && place[mag] != there -> mag++
		:: else -> break
		od
	fi;
	n = 0
}

/* An empty magazine to top, from either shelf or new; 0: none. */
inline get_empty() {
	d_step {
		mag_find(mag, SHELF_EMPTY + cpu, 1);
		if
		:: mag == MAGS -> mag_find(mag, SHELF_EMPTY + 1 - cpu, 2)
		:: else
		fi;
		if
		:: mag == MAGS -> mag_find(mag, NOWHERE, 1)
		:: else
		fi;
		if
		:: mag == MAGS -> top = 0
		:: else -> place[mag] = OURS; top = TOP(mag, 0)
		fi;
		mag = 0
	}
}

/* A full magazine to top, or 0. */
inline get_full() {
	d_step {
		mag_find(mag, SHELF_FULL + cpu, 1);
		if
		:: mag == MAGS -> mag_find(mag, SHELF_FULL + 1 - cpu, 2)
		:: else
		fi;
		if
		:: mag == MAGS -> top = 0
		:: else -> place[mag] = OURS; top = TOP(mag, 2)
		fi;
		mag = 0
	}
}

/* The rounds to the slabs, and the magazine to where it came from. */
inline flush(top) {
	d_step {
		do
		:: !EMPTY(top) ->
			object_moves(BELOW(top), KEPT, SLAB);
			top--
		:: else -> break
		od;
		mag_moves(MAG(top), OURS, NOWHERE);
		round[2 * MAG(top)] = 0;
		round[2 * MAG(top) + 1] = 0;
		top = 0
	}
}

/* A raw object to word, or 0. */
inline slab_get(word) {
	word = 1;
	do
	:: word <= OBJECTS && where[word] != SLAB -> word++
	:: else -> break
	od;
	if
	:: word > OBJECTS -> word = 0
	:: else
	fi
}

/* ---- sequences ---- */

/* An object popped to word, where this user is now; 0: none. */
inline pop() {
	atomic {
		if
		:: at = 0
		:: at = 1
		fi;
		if
		:: !away[at] && !EMPTY(loaded[at]) ->
			running[at] = me;
			old = loaded[at];
			word = BELOW(old)
		:: else
		fi
	}
	d_step {
		if
		:: word != 0 && running[at] == me ->
			running[at] = 0;
			object_moves(word, KEPT, USED);
			assert(place[MAG(old)] == LOADED);
			loaded[at] = old - 1
		:: else -> word = 0
		fi;
		old = 0;
		at = 0
	}
}

/* word pushed, and then 0, where this user is now. */
inline push() {
	atomic {
		if
		:: at = 0
		:: at = 1
		fi;
		if
		:: !away[at] && !FULL(loaded[at]) ->
			running[at] = me;
			old = loaded[at];
			assert(EMPTY(old) || BELOW(old) != word)
		:: else
		fi
	}
	d_step {
		if
		:: old != 0 && running[at] == me -> ABOVE_IT(old) = word
		:: else -> old = 0
		fi
	}
	d_step {
		if
		:: old != 0 && running[at] == me ->
			running[at] = 0;
			object_moves(word, USED, KEPT);
			assert(place[MAG(old)] == LOADED);
			loaded[at] = old + 1;
			word = 0
		:: else
		fi;
		old = 0;
		at = 0
	}
}

/* ok: was it `was`, and is it `new` now?  If this user is still on cpu. */
inline exchange(it, was, new) {
	atomic {
		if
		:: ok = false
#ifdef BLIND
		:: !away[cpu] ->
#else
		:: !away[cpu] && it == was ->
#endif
			running[cpu] = me;
			ok = true
		fi
	}
	d_step {
		ok = ok && running[cpu] == me;
		if
		:: ok ->
			running[cpu] = 0;
			it = new;
			if
			:: was != 0 -> mag_moves(MAG(was), LOADED, OURS)
			:: else
			fi;
			if
			:: new != 0 -> mag_moves(MAG(new), OURS, LOADED)
			:: else
			fi
		:: else
		fi
	}
}

/* ---- the two misses ---- */

inline enter() {
	atomic {
		if
		:: cpu = 0
		:: cpu = 1
		fi;
		in = !away[cpu]
	}
}

/* What is at top: behind, if nothing is, else on a shelf or to the slabs. */
inline put_aside() {
	if
	:: top == 0
	:: else ->
		exchange(behind[cpu], 0, top);
		if
		:: ok -> top = 0
		:: !ok && EMPTY(top) ->
			d_step {
				mag_moves(MAG(top), OURS, SHELF_EMPTY + cpu);
				top = 0
			}
		:: !ok && COUNT(top) == 1 ->
			flush(top)
		:: !ok && COUNT(top) == 2 ->
			/* Depots may hold enough. */
			if
			:: flush(top)
			:: d_step {
				mag_moves(MAG(top), OURS, SHELF_FULL + cpu);
				top = 0
			   }
			fi
		fi
	fi
}

/* The magazine behind to top, if it is worth it; else 0. */
inline take_behind(useless) {
	top = behind[cpu];
	if
	:: top == 0
	:: top != 0 && (useless) -> top = 0
	:: top != 0 && !(useless) ->
		exchange(behind[cpu], top, 0);
		if
		:: ok
		:: else -> top = 0
		fi
	fi
}

/* An empty magazine with what raw objects there are; top is 0 without any. */
inline fill() {
	get_empty();
	if
	:: top == 0
	:: else ->
		d_step {
			do
			:: slab_get(word);
				if
				:: word == 0 || FULL(top) -> break
				:: else ->
					where[word] = KEPT;
					ABOVE_IT(top) = word;
					top++
				fi
			od;
			word = 0;
			if
			:: EMPTY(top) ->
				mag_moves(MAG(top), OURS, SHELF_EMPTY + cpu);
				top = 0
			:: else
			fi
		}
	fi
}

/* top is ours and has rounds: in the place of an empty one. */
inline load() {
	old = loaded[cpu];
	/* One of two rounds is for the other magazine. */
	d_step {
		if
		:: old != 0 && FULL(top) && behind[cpu] == 0 ->
			half = round[2 * MAG(top)];
			round[2 * MAG(top)] = round[2 * MAG(top) + 1];
			top--
		:: else
		fi
	}
	if
	:: EMPTY(old) ->
		exchange(loaded[cpu], old, top);
		if
		:: ok -> top = old
		:: else
		fi
	:: else
	fi;
	d_step {
		if
		:: half != 0 -> ABOVE_IT(top) = half; top++; half = 0
		:: else
		fi;
		old = 0
	}
	put_aside()
}

inline alloc() {
	enter();
	do
	:: tries < ATTEMPTS && in ->
		tries++;
		pop();
		if
		:: word != 0 -> break
		:: else
		fi;
		take_behind(EMPTY(top));
		if
		:: top == 0 -> get_full()
		:: else
		fi;
		if
		:: top == 0 -> fill()
		:: else
		fi;
		if
		:: top == 0 -> break
		:: else
		fi;
		load();
		enter()
	:: else -> break
	od;
	atomic {
		if
		:: word == 0 ->
			slab_get(word);
			if
			:: word != 0 -> where[word] = USED
			:: else
			fi
		:: else
		fi
	}
}

/* Of word, which is 0 afterwards. */
inline give() {
	enter();
	do
	:: tries < ATTEMPTS && in ->
		tries++;
		push();
		if
		:: word == 0 -> break
		:: else
		fi;
		/* Without exclusion: was it freed twice? */
		old = loaded[cpu];
		assert(EMPTY(old) || BELOW(old) != word);
		take_behind(FULL(top));
		if
		:: top == 0 -> get_empty()
		:: else
		fi;
		if
		:: top == 0 -> old = 0; break
		:: else
		fi;
		old = loaded[cpu];
		if
		:: FULL(old) ->
			exchange(loaded[cpu], old, top);
			if
			:: ok -> top = old
			:: else
			fi
		:: else
		fi;
		old = 0;
		put_aside();
		enter()
	:: else -> break
	od;
	atomic {
		if
		:: word != 0 -> object_moves(word, USED, SLAB); word = 0
		:: else
		fi
	}
}

proctype user(byte me, operations)
{
	byte cpu, at, top, old, word, half, mag, n, tries, done, has;
	bool in, ok;

	do
	:: done < operations ->
		done++;
		if
		:: has == 0 -> alloc(); has = word
		:: else -> word = has; has = 0; give()
		fi;
		d_step { word = 0; tries = 0; cpu = 0; in = false; ok = false }
	:: else -> break
	od;
	ended++
}

/* ---- from outside ---- */

/* One block to taken[i], as a magazine whose top is to be found again. */
inline take(it) {
	if
	:: it != 0 ->
		mag_moves(MAG(it), LOADED, OURS);
#ifndef ABOVE
		do
		:: !FULL(it) -> ABOVE_IT(it) = 0; it++
		:: else -> break
		od;
#endif
		taken[n] = TOP(MAG(it), 0);
		n++;
		it = 0
	:: else
	fi
}

inline drain() {
	away[0] = true;
	away[1] = true;
#ifndef FENCE
	d_step { running[0] = 0; running[1] = 0 }
#endif
	d_step { take(loaded[0]); take(behind[0]) }
	d_step { take(loaded[1]); take(behind[1]) }
	away[0] = false;
	away[1] = false;
	do
	:: n > 0 ->
		d_step {
			do
			:: !FULL(taken[n - 1]) && ABOVE_IT(taken[n - 1]) != 0 ->
				taken[n - 1] = taken[n - 1] + 1
			:: else -> break
			od;
			n--
		};
		flush(taken[n])
	:: else -> break
	od
}

/* At the end: everything is drained and reaped, so nothing is left. */
init {
	byte taken[4];
	byte n, top;

	atomic {
		/* Two magazines are about. */
		place[0] = LOADED;
		loaded[0] = TOP(0, 2);
		round[0] = 1;
		round[1] = 2;
		where[1] = KEPT;
		where[2] = KEPT;
		place[1] = LOADED;
		behind[0] = TOP(1, 0);
		run user(1, 2);
		run user(2, 1)
	}
	drain();
	ended == USERS;
	drain();
	atomic {
		n = 0;
		do
		:: n < MAGS ->
			if
			:: place[n] >= SHELF_EMPTY -> place[n] = NOWHERE
			:: place[n] >= SHELF_FULL && place[n] < SHELF_EMPTY ->
				object_moves(round[2 * n], KEPT, SLAB);
				object_moves(round[2 * n + 1], KEPT, SLAB);
				place[n] = NOWHERE
			:: else
			fi;
			assert(place[n] == NOWHERE);
			n++
		:: else -> break
		od;
		n = 1;
		do
		:: n <= OBJECTS -> assert(where[n] != KEPT); n++
		:: else -> break
		od
	}
}
