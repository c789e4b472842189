"""The Atari host: Dopamine's agents on ALE's ROMs. Importing it imports neither."""
