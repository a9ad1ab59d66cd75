#!/bin/bash
# perl: hashes of lists, and modules that come with it
# needs perl=perl
set -e
export PERL_HASH_SEED=0
perl -ne '
	@f = split;
	push @{$h{$f[1]}}, $f[0];
	END { print "$_ @{[sort @{$h{$_}}]}\n" for (sort keys %h)[0 .. 20] }
' "$INPUTS/lines"

perl -MStorable=freeze,thaw,dclone -MEncode -MDigest::SHA=sha256_hex \
	-MMIME::Base64 -MList::Util=sum,shuffle -MData::Dumper -MTime::Local \
	-MCompress::Zlib -MMath::BigInt -MText::Wrap -MPOSIX -e '
	$Storable::canonical = $Data::Dumper::Sortkeys = 1;
	srand 1;
	my %h = map { $_ => [map { $_ x ($_ % 40) } shuffle 1 .. 60] } 1 .. 400;
	my $copy = thaw(freeze(dclone(\%h)));
	print sha256_hex(Dumper($copy)), "\n";
	my $text = wrap("", "  ", join " ", map { chr(0x100 + $_) x 3 } 1 .. 5000);
	my $bytes = encode("UTF-16LE", $text);
	print sha256_hex($bytes), " ", decode("UTF-16LE", $bytes) eq $text, "\n";
	my $packed = compress($bytes);
	print length $packed, " ", uncompress($packed) eq $bytes, "\n";
	print length encode_base64($packed), "\n";
	my $f = Math::BigInt->new(300)->bfac;
	print sum(split //, "$f"), " ", strftime("%F", gmtime 86400 * 366), "\n";
	for (1 .. 300) {
		my $s = "sub { my \@a = map { \$_ * $_ } \@_; sum \@a }";
		$total += (eval $s)->(1 .. 50);
	}
	print "$total\n";
'

# Its threads copy the interpreter, every object of it.
perl -Mthreads -MThread::Queue -MList::Util=sum -e '
	my %big = map { $_ => "x" x ($_ % 100) } 1 .. 4000;
	my $q = Thread::Queue->new(1 .. 40);
	$q->end;
	my @t = map { threads->create(sub {
		my $n = 0;
		while (defined(my $i = $q->dequeue)) {
			$n += length for map { $big{$_} . $i x 3 } keys %big;
		}
		return $n;
	}) } 1 .. 4;
	print sum(map { $_->join } @t), "\n";
'
