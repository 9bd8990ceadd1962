"""Pictures of a sweep, from its records: each module draws one ``Figure``; ``style`` saves it."""
