"""Fields: what one column means, and how its values become numbers."""

from habitus.fields.category import Category, Vocabulary
from habitus.fields.number import Number, Scaler
from habitus.fields.schema import Field, Schema, field_from_json, field_to_json, infer_field
from habitus.fields.text import Text

__all__ = [
    "Category",
    "Field",
    "Number",
    "Scaler",
    "Schema",
    "Text",
    "Vocabulary",
    "field_from_json",
    "field_to_json",
    "infer_field",
]
