from tests.integration.store.databases import database, migrated_file, migrated_template, store_url

__all__ = ["database", "migrated_file", "migrated_template", "store_url"]
