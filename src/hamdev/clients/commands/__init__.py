"""The commands, by what they are for; what is expensive is imported inside of them."""
