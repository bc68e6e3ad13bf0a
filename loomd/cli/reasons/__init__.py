"""Why a task went as it did: `tell`, and one file for each phase."""
