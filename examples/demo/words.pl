# words.pl - words of a text: counted, indexed, turned into each other.
#
#	perl words.pl FILE
#
# SPDX-License-Identifier: BSD-2-Clause
use strict;
use warnings;

my (%count, %lines, %anagram, @long);

open(my $in, '<', $ARGV[0]) or die "$ARGV[0]: $!\n";
while (my $line = <$in>) {
	chomp $line;
	my @words = split /[^a-z]+/, lc $line;
	for my $word (@words) {
		next if $word eq '';
		$count{$word}++;
		push @{ $lines{$word} }, $. if @{ $lines{$word} || [] } < 50;
	}
	(my $swapped = $line) =~ s/(\w+) (\w+)/$2 $1/g;
	push @long, join('-', map { ucfirst } reverse @words) . $swapped
	    if $. % 7 == 0;
	shift @long if @long > 5000;
}
close($in);

push @{ $anagram{ join '', sort split //, $_ } }, $_ for sort keys %count;

my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
printf "%s %d %s\n", $_, $count{$_}, join ',', @{ $lines{$_} }[0 .. 4]
    for @top[0 .. 49];
my @groups = grep { @$_ > 2 } map { $anagram{$_} } sort keys %anagram;
printf "%d words, %d groups of anagrams, %d bytes kept\n", scalar(keys %count),
    scalar(@groups), length(join '', @long);
