"""What the language model benchmark needs: graphs of a decoder, its training, and the base model that runs a pipeline."""
