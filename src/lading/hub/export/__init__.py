"""The pages as static files: what an auditor keeps, reads without a hub, and can check against its hashes."""

from lading.hub.export.writing import Exported, ExportedModel, export

__all__ = ["Exported", "ExportedModel", "export"]
