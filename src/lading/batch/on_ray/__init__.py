"""What the engine on Ray consists of: its connection to a cluster, and the process that scores there."""
