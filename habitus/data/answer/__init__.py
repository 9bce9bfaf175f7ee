"""Questions about passages: reading them, tokens with their places in the text, windows over long passages."""
