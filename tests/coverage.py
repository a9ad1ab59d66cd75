#!/usr/bin/env python3
"""coverage.py - the report of coverage.sh.

    coverage.py LEVEL ROOT EXPLANATIONS LCOV JSON

LCOV and JSON are exports of llvm-cov.  LEVEL 1 lists the lines that are not
covered and not explained, 2 those that are explained too.
"""
import collections
import json
import os
import re
import sys


class Entry:
    def __init__(self, file, function, text):
        self.file, self.function, self.text = file, function, text
        self.why = []


def read_entries(path):
    """Entries: FILE FUNCTION [TEXT], and below it, indented, why."""
    entries = []
    for line in open(path):
        if line[:1] in "#\n":
            continue
        if line[0].isspace():
            entries[-1].why.append(line.strip())
        else:
            file, function, text = (line.strip() + "  ").split(" ", 2)
            entries.append(Entry(file, function, text.strip()))
    return entries


def read_functions(path):
    """File to line to the function that begins there."""
    starts = collections.defaultdict(dict)
    for record in open(path):
        kind, _, rest = record.strip().partition(":")
        if kind == "SF":
            file = rest
        elif kind == "FN":  # a static function is called FILE:NAME
            line, name = rest.split(",", 1)
            starts[file][int(line)] = name.rpartition(":")[2]
    return starts


def count_lines(source, segments):
    """Line to count.

    A segment lasts until the next; gaps are between statements.  llvm-cov
    itself takes a line to have the count of the gap before it, when that
    follows a call which need not return, as in QR_VERIFY.
    """
    at = collections.defaultdict(list)
    for line, column, count, counted, begins, gap in segments:
        at[line].append((column, count, counted, begins, gap))
    lines = {}
    before = (0, False)
    for number, text in enumerate(source, 1):
        counts = []
        if before[1]:
            counts.append(before[0])
        indent = len(text) - len(text.lstrip()) + 1
        for column, count, counted, begins, gap in at[number]:
            if column == indent and counted and not gap:
                counts = [count]
            elif begins and counted and not gap:
                counts.append(count)
            before = (count, counted and not gap)
        if counts and re.match(r"\s*[^\s/*#{}]", text + " "):
            lines[number] = max(counts)
    return lines


def count_branches(exported):
    """Both ways of a condition, wherever the function was compiled."""
    ways = collections.Counter()
    for line, column, end, end_column, taken, not_taken, *_ in exported:
        where = (line, column, end, end_column)
        ways[where, True] += taken
        ways[where, False] += not_taken
    return len(ways), sum(count == 0 for count in ways.values())


class Report:
    def __init__(self, level, root, entries):
        self.level = level
        self.root = root
        self.entries = entries
        self.used = set()
        self.explained = 0
        self.unexplained = 0

    def explain(self, file, function, text):
        for entry in self.entries:
            if entry.file == file and entry.function in ("*", function) and \
                    entry.text in text:
                self.used.add(entry)
                return entry
        return None

    def look(self, file, source, counts, starts):
        for line in sorted(line for line in counts if counts[line] == 0):
            start = max((s for s in starts if s <= line), default=0)
            function = starts.get(start, "")
            text = source[line - 1]
            entry = self.explain(file, function, text)
            if entry:
                self.explained += 1
            else:
                self.unexplained += 1
            if self.level >= (2 if entry else 1):
                print(f"{file}:{line}: {function}: {text.strip()}")
                if entry:
                    print("\t" + " ".join(entry.why))


def main():
    level, root, explanations, lcov, exported = sys.argv[1:]
    report = Report(int(level), root, read_entries(explanations))
    starts = read_functions(lcov)
    form = "%-30s %6s %11s %9s %9s"
    rows = []
    total = collections.Counter()
    with open(exported) as f:
        files = json.load(f)["data"][0]["files"]
    for file in sorted(files, key=lambda file: file["filename"]):
        path = file["filename"]
        name = os.path.relpath(path, root)
        if not re.match("lib/", name):
            continue
        source = open(path).read().split("\n")
        lines = count_lines(source, file["segments"])
        branches, untaken = count_branches(file["branches"])
        row = (len(lines), list(lines.values()).count(0),
               branches, untaken)
        total.update(dict(enumerate(row)))
        rows.append(form % (name, *row))
        report.look(name, source, lines, starts[path])
    print(form % ("file", "lines", "not covered", "branches", "not taken"))
    print("\n".join(rows))
    print(form % ("all", *(total[i] for i in range(4))))
    for entry in report.entries:
        if entry not in report.used:
            print("covered, and explained all the same:", entry.file,
                  entry.function, entry.text)
    print(f"{report.explained} lines not covered and explained")
    print(f"{report.unexplained} lines not covered and not explained")
    sys.exit(report.unexplained > 0)


main()
