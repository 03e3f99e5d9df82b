"""Configuration of recognition, reasoning and synthesis engines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_agent.config.section import ConfigPath, Section


class VoskConfig(Section):
    """Vosk."""

    model: ConfigPath | None = Field(
        None, description="Model directory; unset: the first one for the language in the models directory."
    )
    min_confidence: float = Field(
        0.5, ge=0, le=1, description="Mean word confidence below which a closed reading is rejected."
    )


class PocketSphinxConfig(Section):
    """PocketSphinx, the embedded default."""

    min_confidence: float = Field(0.4, ge=0, le=1, description="Confidence below which a closed reading is rejected.")


class AsrConfig(Section):
    """Speech recognition."""

    engine: Literal["auto", "vosk", "pocketsphinx"] = Field(
        "auto", description="auto: Vosk where a model for the language is installed, PocketSphinx otherwise."
    )
    closed: bool = Field(
        default=True, description="Listen for the intents' sentences only; False: free dictation alone."
    )
    vosk: VoskConfig = VoskConfig()
    pocketsphinx: PocketSphinxConfig = PocketSphinxConfig()


class IntentsConfig(Section):
    """Local intents."""

    builtin: bool = Field(default=True, description="Load the intents that come with edge_agent.")
    paths: tuple[ConfigPath, ...] = Field((), description="Your own YAML files, or directories of them.")


class LlmConfig(Section):
    """Local language model."""

    model: ConfigPath | None = Field(
        None, description="GGUF file; unset: the first one in the models directory, or none."
    )
    system_prompt: str = Field(
        "You are a helpful voice assistant on a small device. Answer in one or two short spoken sentences.",
        description="Instruction that opens every chat.",
    )
    context_tokens: int = Field(2048, ge=128, le=32768, description="Context size.")
    max_answer_tokens: int = Field(160, ge=1, le=4096, description="Longest answer.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 always takes the likeliest token.")
    seed: int = Field(0, ge=0, description="Sampling seed.")
    threads: int | None = Field(
        None, ge=1, le=64, description="Most compute threads; unset: what the core ledger grants, all cores at most."
    )
    history_turns: int = Field(6, ge=0, le=50, description="Turns of conversation that the model is shown, at most.")
    keep_prefix: bool = Field(
        default=True, description="Keep the evaluated prompt from turn to turn, on disk too, and renew it when idle."
    )
    speculate: bool = Field(
        default=True, description="Begin the answer where the question may be over, unheard until it is."
    )
    tools: bool = Field(default=True, description="Let the model call the intents.")
    tool_timeout_s: float = Field(5.0, gt=0, le=60, description="Longest time that one call may take.")


class PiperConfig(Section):
    """Piper."""

    voice: ConfigPath | None = Field(
        None, description="Voice .onnx file with its .json beside it; unset: the first one for the language."
    )
    threads: int | None = Field(
        None, ge=1, le=16, description="Most compute threads; unset: half of the compute cores, rounded up."
    )
    speaker: int | None = Field(None, ge=0, description="Speaker of a voice that has several.")
    length_scale: float = Field(1.0, gt=0.2, le=4, description="Above 1 speaks slower.")


class FliteConfig(Section):
    """Flite."""

    voice: str = Field("slt", min_length=1, description="A voice from `flite -lv`.")


class EspeakConfig(Section):
    """eSpeak NG."""

    voice: str = Field("", description="A voice from `espeak-ng --voices`; empty: the language's own.")
    words_per_minute: int = Field(165, ge=80, le=450, description="Speed.")


class TtsConfig(Section):
    """Speech synthesis."""

    engine: Literal["auto", "piper", "flite", "espeak"] = Field(
        "auto",
        description="auto: Piper where a voice for the language is installed, then Flite for English, then eSpeak NG.",
    )
    piper: PiperConfig = PiperConfig()
    flite: FliteConfig = FliteConfig()
    espeak: EspeakConfig = EspeakConfig()
