"""What a value-based agent is made of: TD losses, replay, exploration."""
