"""The one kind of error that is the user's to mend: a single line that names the thing, its value and what is legal."""


class UserError(ValueError):
    """Refused input. Commands print its text as one line and leave with exit code 2."""
