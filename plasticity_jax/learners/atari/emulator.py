"""One Atari 2600 whose every source of chance can be saved and restored."""

import difflib

import numpy as np

NOOP = 0


def game_id(game: str) -> str:
    """Returns ALE's name of a game, `ms_pacman` for `MsPacman` or `ms_pacman`.

    Raises:
      ValueError: for an unknown game, naming the nearest ones.
    """
    from ale_py import roms

    known = {name.replace("_", ""): name for name in roms.get_all_rom_ids()}
    plain = game.replace("_", "").lower()
    if plain not in known:
        nearest = difflib.get_close_matches(plain, known, n=3, cutoff=0.4)
        hint = ", ".join(known[name] for name in nearest) or ", ".join(known.values())
        raise ValueError(
            f"game: expected one of ALE's {len(known)} ROMs; got {game!r}. "
            f"Nearest: {hint}."
        )
    return known[plain]


class Emulator:
    """ALE, one frame a step, behind the interface that Dopamine's preprocessing reads.

    Sticky actions are drawn here, by ALE's rule: before each frame, with probability
    `sticky_probability`, the action of the frame before is executed instead. ALE's own
    cannot be resumed: the action it would repeat is not part of its system state (66 of
    300 restored emulators played on differently; with these, none). The generator also
    draws the number of no-op frames that opens each episode, 0 to `max_noops`.
    """

    def __init__(self, game, *, sticky_probability, max_noops, seed):
        import ale_py
        from ale_py.env import AtariEnv

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner
        self.env = AtariEnv(
            game=game_id(game),
            obs_type="grayscale",  # never read; the cheapest with the screen's shape
            frameskip=1,
            repeat_action_probability=0.0,
            full_action_space=False,
        )
        self.env.reset(seed=seed)
        self.observation_space = self.env.observation_space
        self.action_space = self.env.action_space
        self.sticky_probability = sticky_probability
        self.max_noops = max_noops
        self.generator = np.random.default_rng((seed, 1))  # not the replay's stream
        self.executed_action = NOOP

    def reset(self):
        """Starts an episode."""
        self.env.reset()
        self.executed_action = NOOP
        for _ in range(self.generator.integers(self.max_noops + 1)):
            _, _, terminated, _, _ = self.env.step(NOOP)
            if terminated:
                self.env.reset()

    def step(self, action: int):
        """Runs one frame; returns gymnasium's five values."""
        if self.generator.random() >= self.sticky_probability:
            self.executed_action = action
        return self.env.step(self.executed_action)

    def save(self) -> dict:
        """Returns the console, ALE's generator included, and ours, as arrays."""
        system = self.env.ale.cloneSystemState().serialize()
        return {
            "system": np.frombuffer(system, np.uint8),
            "executed_action": np.asarray(self.executed_action),
            "generator": save_generator(self.generator),
        }

    def load(self, saved: dict) -> None:
        """Takes over what `save` returned."""
        from ale_py import ALEState

        system = np.asarray(saved["system"], np.uint8).tobytes()
        self.env.ale.restoreSystemState(ALEState(system))
        self.executed_action = int(saved["executed_action"])
        load_generator(self.generator, saved["generator"])


def save_generator(generator: np.random.Generator) -> dict:
    """A PCG64 generator's state as arrays; its two 128-bit words as 32 bytes."""
    state = generator.bit_generator.state
    words = [state["state"][name].to_bytes(16, "little") for name in ("state", "inc")]
    return {
        "words": np.frombuffer(b"".join(words), np.uint8),
        "has_uint32": np.asarray(state["has_uint32"]),
        "uinteger": np.asarray(state["uinteger"]),
    }


def load_generator(generator: np.random.Generator, saved: dict) -> None:
    """Takes over what `save_generator` returned."""
    words = np.asarray(saved["words"], np.uint8).tobytes()
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {
            "state": int.from_bytes(words[:16], "little"),
            "inc": int.from_bytes(words[16:], "little"),
        },
        "has_uint32": int(saved["has_uint32"]),
        "uinteger": int(saved["uinteger"]),
    }
