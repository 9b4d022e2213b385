"""The protocols a target can speak. One folder each: sans-IO codec, interpretation of messages as actions, proxy."""
