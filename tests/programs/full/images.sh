#!/bin/bash
# ImageMagick and ffmpeg: pictures, films and sounds, by threads
# needs imagemagick=convert-im6 ffmpeg=ffmpeg
set -e
convert-im6 -seed 1 -size 500x400 plasma: -depth 8 one.ppm
convert-im6 -size 500x400 pattern:bricks -depth 8 two.ppm
for how in '-blur 0x4' '-resize 70%' '-rotate 17' '-colors 40' '-swirl 90' \
	'-morphology Dilate Disk:3' '-distort Arc 60' '-paint 3' '-canny 0x1+10%+30%'; do
	# shellcheck disable=SC2086
	echo "$how $(convert-im6 one.ppm $how -depth 8 ppm:- | cksum)"
done
for format in png gif tiff bmp jpg; do
	convert-im6 one.ppm two.ppm -evaluate-sequence mean -strip back.$format
	echo "$format $(convert-im6 back.$format -depth 8 ppm:- | cksum)"
done

film='testsrc2=duration=4:size=480x270:rate=25'
sound='sine=frequency=440:duration=4'
# Not libx264: it reads memory before it writes it, as MALLOC_PERTURB_ shows.
for codec in mpeg4 mpeg2video ffv1 libtheora libvpx; do
	ffmpeg -v error -f lavfi -i $film -f lavfi -i $sound -threads 2 \
		-c:v $codec -c:a flac -flags +bitexact -fflags +bitexact \
		-y film.mkv
	echo "$codec $(ffmpeg -v error -threads 4 -i film.mkv -f framemd5 - |
		cksum)"
done
ffmpeg -v error -i film.mkv -vf 'scale=320:-1,hue=s=0,boxblur=3,rotate=0.2' \
	-af 'atempo=1.5,aecho' -f md5 -
