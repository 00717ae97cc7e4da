"""The options of each subcommand, apart from what carries it out: help imports these modules alone, and no runtime."""
