"""Formats: the containers and protocols that ffmpeg may open, by who made the file."""

from __future__ import annotations

# Containers of clips from users. No format that can make ffmpeg open another file or an address: no playlists, no
# scripts. `probe_child`, which imports nothing of the platform, has a copy; a test compares the two.
CLIP_FORMATS = "mov,matroska,mpegts,mpeg,avi,flv,asf,ogg"
# Containers of sounds from users: those of clips, and those of sound alone. `sound_child` has a copy, too.
UPLOADED_SOUND_FORMATS = f"{CLIP_FORMATS},wav,w64,mp3,flac,aac,ac3,eac3,aiff,amr,au,caf,wv,ape,tta"
CLIP_PROTOCOLS = "file,crypto,data"

# Containers of files that the platform itself made.
SEGMENT_FORMATS = "mov"
SOUND_FORMATS = "mov,wav,w64,flac,ogg,mp3,matroska"
VIDEO_FORMATS = "mov,matroska"


def own_file(formats: str) -> dict[str, str]:
    """Returns the options that open a file of the platform's own, in one of `formats` (separated by commas)."""
    return {"format_whitelist": formats, "protocol_whitelist": "file"}
