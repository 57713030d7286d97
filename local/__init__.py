"""The local cloud: MiniStack on loopback, the stack deployed to it by the real CDK CLI, and the demo."""
