"""The process that writes the file of a segment from encoded packets.

Run by path with `python -I` in the folder of the file; imports nothing of the platform. Packets come on standard input
as FLV, one millisecond a frame. Arguments: the file, the options of its muxer as JSON, the sample entry of its codec,
frames a second, and how many frames to subtract from all times.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction

import av


def main() -> None:
    file, options, sample_entry, rate, delay = (
        sys.argv[1],
        json.loads(sys.argv[2]),
        sys.argv[3],
        *map(int, sys.argv[4:6]),
    )
    with (
        av.open(sys.stdin.buffer, "r", format="flv") as source,
        av.open(file, "w", format="mp4", options=options) as target,
    ):
        video = source.streams.video[0]
        stream = target.add_stream_from_template(video, opaque=True)
        stream.codec_tag = sample_entry
        stream.time_base = Fraction(1, int(options["video_track_timescale"]))
        for packet in source.demux(video):
            if packet.size:
                assert packet.pts is not None and packet.dts is not None
                packet.stream = stream
                packet.time_base = Fraction(1, rate)
                packet.pts, packet.dts, packet.duration = packet.pts - delay, packet.dts - delay, 1
                target.mux(packet)


if __name__ == "__main__":
    main()
