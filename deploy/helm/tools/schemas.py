"""Writes the schemas that kubeconform needs to check the chart without a network.

    schemas.py WHEEL DIRECTORY

The wheel is kubernetes-validate's. Its schemas refer to one file of definitions by a URL that only
its own loader understands; here each schema gets the definitions that it reaches, and stands alone.
"""

import json
import re
import sys
import zipfile
from pathlib import Path

VERSIONS = ["v1.29.0", "v1.33.0", "v1.37.0"]
KINDS = ["deployment-apps-v1", "service-v1", "persistentvolumeclaim-v1"]

SOURCE = "kubernetes_validate/kubernetes-json-schema"
REFERENCE = re.compile(r'"\$ref": "(?:/api/_definitions\.json)?#/\$defs/([^"]+)"')


def main(wheel: str, directory: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for version in VERSIONS:
            source = f"{SOURCE}/{version}-local-strict"
            definitions = json.loads(archive.read(f"{source}/_definitions.json"))["$defs"]
            target = Path(directory, f"{version}-standalone-strict")
            target.mkdir(parents=True)
            for kind in KINDS:
                schema = json.loads(archive.read(f"{source}/{kind}.json"))
                Path(target, f"{kind}.json").write_text(standalone(schema, definitions))


def standalone(schema: dict, definitions: dict) -> str:
    """The schema together with every definition that it reaches."""
    reached, waiting = {}, references(schema)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = definitions[name]
            waiting |= references(definitions[name])
    whole = json.dumps({**schema, "$defs": reached})
    return REFERENCE.sub(r'"$ref": "#/$defs/\1"', whole)


def references(schema: dict) -> set[str]:
    return set(REFERENCE.findall(json.dumps(schema)))


if __name__ == "__main__":
    main(*sys.argv[1:])
