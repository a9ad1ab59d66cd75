"""generate.py - the inputs of the demo, the same on every machine.

    generate.py KIND > file

SPDX-License-Identifier: BSD-2-Clause
"""
import random
import sys

FUNCTIONS = 100
ENTRIES = 6000
COMMITS = 3000
FILES = 200
REDIS_COMMANDS = 80000
TEXT_LINES = 40000

STATEMENTS = [
    "x = x * {a}u\n    + tab[(x >> {s}) % {n}u];",
    "if ((x & {m}u) != 0)\n    y ^= x >> {s};\nelse\n    y += {a}u;",
    "for (i = 0; i < {k}; i++) {{\n    z[i % 16] += x ^ i;\n"
    "    x += z[(i + {s}) % 16];\n}}",
    "switch (x % 5) {{\ncase 0:\n    y++;\n    break;\ncase 1:\n"
    "    y ^= {a}u;\n    break;\ncase 3:\n    x += y;\n    break;\n"
    "default:\n    x = (x << {s}) | (x >> (32 - {s}));\n}}",
    "p->count += y;\np->name[x % sizeof(p->name)] = (char)y;\n"
    "p = p->next ? p->next : p;",
    "while (y > {a}u) {{\n    y = y / 3 + (x & 7);\n    if (x == {m}u)\n"
    "        break;\n}}",
    "d = d * 1.{a}\n    + (double)(x % {n}u);\nif (d > 1e{s})\n    d = 0.5;",
]


def c_source(rng):
    """A program of some eleven thousand lines: functions and tables."""
    print("#include <stdio.h>\n")
    print("struct node { struct node *next; unsigned count; char name[24]; };")
    print("struct entry { const char *name; unsigned value, flags; };")
    print("static const unsigned tab[1024] = {")
    for _ in range(1024):
        print("    %du," % rng.getrandbits(32))
    print("};\nstatic const struct entry entries[%d] = {" % ENTRIES)
    for _ in range(ENTRIES):
        print('    {"%s", %du, 0x%x},'
              % (words(rng, 2), rng.randrange(9999), rng.getrandbits(16)))
    print("};")
    for number in range(FUNCTIONS):
        print("\nunsigned\nf%d(struct node *p, unsigned x)\n{" % number)
        print("    unsigned i = 0, y = %d, z[16] = {0};\n    double d = 1.0;\n"
              % number)
        for _ in range(rng.randrange(8, 14)):
            statement = rng.choice(STATEMENTS).format(
                a=rng.randrange(1, 999), s=rng.randrange(1, 31),
                n=rng.randrange(2, 1024), m=1 << rng.randrange(31),
                k=rng.randrange(3, 40))
            print("    " + statement.replace("\n", "\n    "))
        if number > 0:
            print("    if (x > 7)\n        y += f%d(p, x >> 1);"
                  % rng.randrange(max(0, number - 9), number))
        print("    y += entries[x %% %du].value;" % ENTRIES)
        print("    return (x + y + z[x % 16] + (unsigned)d + i);\n}")
    print("\nint\nmain(void)\n{\n    struct node n = {0};\n")
    print('    printf("%%u\\n", f%d(&n, 4711));' % (FUNCTIONS - 1))
    print("    return (0);\n}")


def words(rng, count):
    return " ".join(rng.choice(VOCABULARY) for _ in range(count))


def git_history(rng):
    """A history of some thousand commits, for git fast-import."""
    names = ["dir%02d/file%03d.txt" % (i % 17, i) for i in range(FILES)]
    files = [[words(rng, 8) for _ in range(20)] for _ in names]
    for number in range(COMMITS):
        print("commit refs/heads/main")
        print("committer A U Thor <author@example.com> %d +0000"
              % (1600000000 + number * 60))
        message = "change %d: %s" % (number, words(rng, 6))
        print("data %d\n%s" % (len(message), message))
        for index in rng.sample(range(FILES), 2 if number else FILES):
            lines = files[index]
            lines[rng.randrange(len(lines))] = words(rng, 8)
            if rng.random() < 0.3:
                lines.insert(rng.randrange(len(lines)), words(rng, 8))
            text = "\n".join(lines) + "\n"
            print("M 100644 inline %s\ndata %d\n%s"
                  % (names[index], len(text), text))


def redis_commands(rng):
    """Inline commands that leave a data set of every type behind."""
    for _ in range(REDIS_COMMANDS):
        key, other = rng.randrange(20000), rng.randrange(500)
        value = "%x" % rng.getrandbits(4 * rng.randrange(4, 800))
        print(rng.choice([
            "SET s:%d %s" % (key, value),
            "SET s:%d %s" % (key, value),
            "APPEND a:%d %s" % (key % 2000, value[:40]),
            "DEL s:%d" % rng.randrange(20000),
            "HSET h:%d f%d %s" % (other, key % 100, value[:60]),
            "LPUSH l:%d %s" % (other, value[:100]),
            "RPOP l:%d" % other,
            "SADD t:%d %s" % (other, value[:20]),
            "ZADD z:%d %d m%d" % (other, rng.randrange(100000), key),
        ]))


def text(rng):
    for _ in range(TEXT_LINES):
        print(words(rng, rng.randrange(4, 16)).capitalize() + ".")


def make_vocabulary(rng):
    syllables = [a + b for a in "bcdfglmnprst" for b in "aeiou"]
    return ["".join(rng.choice(syllables) for _ in range(rng.randrange(1, 5)))
            for _ in range(20000)]


KINDS = {"c": c_source, "git": git_history, "redis": redis_commands, "text": text}
VOCABULARY = make_vocabulary(random.Random(0))
KINDS[sys.argv[1]](random.Random(1))
