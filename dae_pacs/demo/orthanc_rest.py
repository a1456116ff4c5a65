"""The few calls of Orthanc's REST API that the demo, the tests and the benchmarks need."""

import http.client
import json
from http import HTTPMethod, HTTPStatus
from typing import Any

from dae_pacs.errors import PeerError


class OrthancRest:
    """Orthanc's REST API on loopback; identifiers are Orthanc's own unless a name says otherwise.

    Answers are JSON of Orthanc's making, hence the `Any`.
    """

    def __init__(self, *, port: int, timeout_s: float = 30.0) -> None:
        self._port = port
        self._timeout_s = timeout_s

    def is_up(self) -> bool:
        """Tell whether Orthanc answers."""
        try:
            self.get("/system")
        except PeerError:
            return False
        return True

    def get(self, path: str) -> Any:
        """Return the JSON that stands at a path."""
        return json.loads(self._request(HTTPMethod.GET, path))

    def post(self, path: str, body: bytes | str) -> Any:
        """Post a body and return the JSON of the answer."""
        return json.loads(self._request(HTTPMethod.POST, path, body))

    def delete(self, path: str) -> None:
        """Delete a resource, such as `/studies/<id>`."""
        self._request(HTTPMethod.DELETE, path)

    def upload(self, file: bytes) -> str:
        """Store a DICOM file past DIMSE and return the instance's identifier."""
        return str(self.post("/instances", file)["ID"])

    def instances(self) -> list[str]:
        """List all instances."""
        return list(self.get("/instances"))

    def series(self) -> list[str]:
        """List all series."""
        return list(self.get("/series"))

    def studies(self) -> list[str]:
        """List all studies."""
        return list(self.get("/studies"))

    def instances_of(self, series: str) -> list[str]:
        """List the instances of one series."""
        return list(self.get(f"/series/{series}")["Instances"])

    def count_instances(self) -> int:
        """Count all instances without listing them."""
        return int(self.get("/statistics")["CountInstances"])

    def tags(self, instance: str) -> dict[str, Any]:
        """Return an instance's elements by DICOM keyword, sequences as lists of the same."""
        return dict(self.get(f"/instances/{instance}/simplified-tags"))

    def file(self, instance: str) -> bytes:
        """Return an instance as the Part 10 file that Orthanc keeps."""
        return self._request(HTTPMethod.GET, f"/instances/{instance}/file")

    def find_instance(self, SOPInstanceUID: str) -> str | None:
        """Return the identifier of the instance with this UID, None where there is none."""
        found = self.post("/tools/lookup", SOPInstanceUID)
        return next((str(match["ID"]) for match in found if match["Type"] == "Instance"), None)

    def find_series(self, SeriesInstanceUID: str) -> str | None:
        """Return the identifier of the series with this UID, None where there is none."""
        found = self.post("/tools/lookup", SeriesInstanceUID)
        return next((str(match["ID"]) for match in found if match["Type"] == "Series"), None)

    def jobs(self) -> list[dict[str, Any]]:
        """List Orthanc's jobs (its transfers among them) with their states."""
        return list(self.get("/jobs?expand"))

    def _request(self, method: HTTPMethod, path: str, body: bytes | str | None = None) -> bytes:
        # Not urllib.request: that would take a proxy of the environment to loopback.
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout_s)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise PeerError(
                f"Orthanc's REST API at 127.0.0.1:{self._port} does not answer {method} {path}: {error}"
            ) from error
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise PeerError(f"Orthanc answers {method} {path} with {answer.status} {answer.reason}")
        return content
