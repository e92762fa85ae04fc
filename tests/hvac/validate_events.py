"""Validates events, one JSON object a line on standard input, against the schema named on the command line.

Members that the schema does not name are accepted by whoever uses it, for new ones may come; here they are errors."""

import json
import sys

from jsonschema import Draft202012Validator


def closed(schema):
    if isinstance(schema, dict):
        schema = {name: closed(part) for name, part in schema.items()}
        if schema.get("type") == "object":
            schema["additionalProperties"] = False
    elif isinstance(schema, list):
        schema = [closed(part) for part in schema]
    return schema


with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(closed(schema))
wrong = 0
for line in sys.stdin:
    for error in validator.iter_errors(json.loads(line)):
        wrong += 1
        print(f"{error.json_path}: {error.message}: {line}")
print(f"{wrong} errors")
sys.exit(1 if wrong else 0)
