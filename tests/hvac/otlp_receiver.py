"""A receiver of OTLP logs over HTTP, with the official messages: what does not parse as one is answered 400.

Prints its port, then a line of JSON for each record.
"""

import http.server
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def told(resource, scope, record):
    return {
        "resource": {pair.key: value(pair.value) for pair in resource.attributes},
        "scope": scope.name,
        "nanos": record.time_unix_nano,
        "severity": [record.severity_number, record.severity_text],
        "name": record.event_name,
        "body": record.body.string_value,
        "attributes": {pair.key: value(pair.value) for pair in record.attributes},
    }


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        is_logs = self.path == "/v1/logs" and self.headers["content-type"] == "application/json"
        try:
            request = json_format.Parse(body, ExportLogsServiceRequest())
        except json_format.ParseError as error:
            print(f"it is no request of OTLP: {error}", file=sys.stderr, flush=True)
            is_logs = False
        answer = json_format.MessageToJson(ExportLogsServiceResponse()).encode()
        if is_logs:
            for logs in request.resource_logs:
                for scope in logs.scope_logs:
                    for record in scope.log_records:
                        print(json.dumps(told(logs.resource, scope.scope, record)), flush=True)
        self.send_response(200 if is_logs else 400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
