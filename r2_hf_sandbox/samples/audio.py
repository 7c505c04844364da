"""Speech-like MP3s: a small pool of clips is encoded once, and segments are spliced from its frames.

An MP3 is a sequence of frames (here 24 ms each, constant bit rate), and a clip's first frame depends on none before it.
So a concatenation of clips, the last cut at a frame, is a valid MP3 of exactly known length. An ID3 tag with a label
makes every segment's bytes unique. Encoding 16 clips takes half a second, splicing a segment some microseconds.
"""

import io
import random
from functools import lru_cache

import numpy as np
import soundfile

SAMPLE_RATE = 24_000
FRAME_SAMPLES = 576  # MPEG-2 layer III
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
FRAME_BYTES_A_S = 72_000  # a frame of a b kbit/s stream has 72_000 * b / sample rate bytes
BITRATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # kbit/s, MPEG-2 layer III
COMPRESSION = 0.75  # libsndfile's scale; at 24 kHz this is 48 kbit/s, 6 kB a second
VOICES = 4
CLIPS_A_VOICE = 4

Frames = tuple[bytes, ...]


Voices = tuple[tuple[Frames, ...], ...]  # the clips of each voice


@lru_cache(maxsize=4)
def make_voices(seed: int) -> Voices:
    return tuple(
        tuple(_frames(_encode(_babble(seed, voice, clip))) for clip in range(CLIPS_A_VOICE)) for voice in range(VOICES)
    )


def splice(voices: Voices, voice: int, seconds: float, label: str, rng: random.Random) -> tuple[bytes, float]:
    """Return an MP3 of about `seconds` in one voice, and its exact duration in seconds."""
    needed = max(1, round(seconds / FRAME_S))
    clips = voices[voice % VOICES]
    parts, count = [_id3(label)], 0
    while count < needed:
        clip = clips[rng.randrange(len(clips))][: needed - count]
        parts.extend(clip)
        count += len(clip)
    return b"".join(parts), round(count * FRAME_S, 3)


def _babble(seed: int, voice: int, clip: int) -> np.ndarray:
    """Return one to three seconds of syllables: harmonics of a moving pitch, two moving formants, and noise."""
    rng = np.random.default_rng([seed, voice, clip])
    seconds = rng.uniform(1.0, 3.0)
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    syllables = int(seconds * rng.uniform(4, 6)) + 2

    def moving(low: float, high: float) -> np.ndarray:
        return np.interp(t, np.linspace(0, seconds, syllables), rng.uniform(low, high, syllables))

    base = 95 + 45 * voice
    phase = 2 * np.pi * np.cumsum(moving(0.9 * base, 1.15 * base)) / SAMPLE_RATE
    first, second = moving(300, 800), moving(900, 2300)
    wave = np.zeros_like(t)
    for harmonic in range(1, 19):
        frequency = harmonic * base
        gain = np.exp(-(((frequency - first) / 180) ** 2)) + 0.5 * np.exp(-(((frequency - second) / 260) ** 2))
        wave += (0.05 + gain) / harmonic**0.4 * np.sin(harmonic * phase)
    wave += 0.08 * rng.standard_normal(t.size)
    loudness = np.clip(np.sin(np.pi * syllables * t / seconds) ** 2 * moving(0.4, 1.0), 0, 1)
    fade = np.clip(np.minimum(t, seconds - t) / 0.02, 0, 1)
    return (0.3 * wave / np.abs(wave).max() * loudness * fade).astype(np.float32)


def _encode(wave: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(
        file,
        wave,
        SAMPLE_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=COMPRESSION,
        bitrate_mode="CONSTANT",
    )
    return file.getvalue()


def _frames(mp3: bytes) -> Frames:
    """Return an MP3's audio frames, without the encoder's `Info` frame, which has the length of this clip alone."""
    frames, at = [], 0
    while at < len(mp3):
        padding = mp3[at + 2] >> 1 & 1
        size = FRAME_BYTES_A_S * BITRATES[mp3[at + 2] >> 4] // SAMPLE_RATE + padding
        frames.append(mp3[at : at + size])
        at += size
    return tuple(frames[1:] if b"Info" in frames[0][:40] or b"Xing" in frames[0][:40] else frames)


def _id3(label: str) -> bytes:
    """Return an ID3v2.4 tag with one user text (TXXX)."""
    text = b"\x03sandbox\0" + label.encode()
    frame = b"TXXX" + _syncsafe(len(text)) + b"\0\0" + text
    return b"ID3\x04\0\0" + _syncsafe(len(frame)) + frame


def _syncsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))
