"""What is attacked, by kind: each attack yields tries that say whether all is right."""
