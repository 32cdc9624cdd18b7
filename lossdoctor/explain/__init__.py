"""What an error message of Keras means. Nothing here imports Keras."""
