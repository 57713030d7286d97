"""The local cloud: MiniStack on loopback, stacks deployed to it by the real CDK CLI, and the demo."""
