"""The kinds of link, a module each; ``base`` says what a link and a listener are."""
