"""What is trained next, and for how many images: proposals, rungs and promotions."""
