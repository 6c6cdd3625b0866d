"""What may be said: the structs, states, errors and subjects shared by every part of Pointsman."""
