"""A server that speaks AWS, and has what the emulator behind it lacks: a spot market, quotas of GPUs, our image."""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote

IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
"""The parameter that account.yaml takes the image from; it exists at AWS only, and the emulator looks it up."""
KNOWN_IMAGE = "/test/image"
"""What stands for it, of the same account."""
NO_CAPACITY = b"""<?xml version="1.0"?><Response><Errors><Error><Code>InsufficientInstanceCapacity</Code>
<Message>We currently do not have sufficient capacity</Message></Error></Errors><RequestID>1</RequestID></Response>"""
_IN_QUERY = {quote(IMAGE, safe="").encode(): quote(KNOWN_IMAGE, safe="").encode()}


class Market:
    """The emulator's application, with a spot market that can run dry, and quotas.

    Attributes:
        has_spot: Whether there are spot instances.
        refused: How many requests for them were refused.
        quotas: For each of AWS's codes of quotas, how many vCPUs; a code that is missing is refused.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._aws = DomainDispatcherApplication(create_backend_app)
        self.has_spot, self.refused = True, 0
        self.quotas: dict[str, float] = {}

    def __call__(self, environ, start_response):
        """Answer a request."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ.get("HTTP_X_AMZ_TARGET") == "ServiceQuotasV20190624.GetServiceQuota":
            code = json.loads(body)["QuotaCode"]
            if code in self.quotas:
                start_response("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
                return [json.dumps({"Quota": {"QuotaCode": code, "Value": self.quotas[code]}}).encode()]
        if most := re.search(rb"\bMaxCount=(\d+)", body):  # the emulator would start MinCount only
            body = re.sub(rb"\bMinCount=\d+", b"MinCount=" + most[1], body)
        for name, known in _IN_QUERY.items():
            body = body.replace(name, known)
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        if not self.has_spot and b"Action=RunInstances" in body and b"MarketType=spot" in body:
            self.refused += 1
            start_response("400 Bad Request", [("Content-Type", "text/xml")])
            return [NO_CAPACITY]
        return self._aws(environ, start_response)

    @contextlib.contextmanager
    def serving(self, host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[Market, str]]:
        """Serve at an address of this machine, and give it; port 0 is any that is free."""
        from moto.moto_server.werkzeug_app import MotoRequestHandler
        from werkzeug.serving import make_server

        server = make_server(host, port, self, threaded=True, request_handler=MotoRequestHandler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self, f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
