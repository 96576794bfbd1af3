"""The live stream described: an AsyncAPI document made from the types that the code uses, and a page for people."""
