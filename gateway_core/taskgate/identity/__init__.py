"""Who somebody is, and how the gateway knows: issued credentials, API keys, people and their other names."""
