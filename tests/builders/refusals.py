"""What a call refuses, for properties of the kind: any input is read or refused in one line."""


def refusal(read, error):
    """The message of the error of this class that `read` raises; None if it returns."""
    try:
        read()
    except error as failure:
        return str(failure)
    return None
