"""Parts of a hub model's files: those bytes that `streaming` asks for, and no others."""

import time

from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from successor_heads import models
from successor_heads.errors import Disconnected, UserError

ATTEMPTS, LONGEST_WAIT_SECONDS = 6, 8.0


class HubFile:
    """A file of a hub model at one commit, read by HTTP range requests. Raises FileNotFoundError where it is not there."""

    def __init__(self, name: str, file: str, *, commit: str):
        self.name, self.file = name, file
        self.url = hf_hub_url(name, file, revision=commit, endpoint=constants.ENDPOINT)
        self.headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        try:
            metadata = get_hf_file_metadata(self.url, retry_on_errors=True)
        except EntryNotFoundError as error:
            raise FileNotFoundError(file) from error
        self.identity = metadata.etag
        self.size: int = metadata.size  # type: ignore[assignment]  # what the hub stores has a size
        # What the server that holds the bytes calls this content; known from its first answer.
        self.etag: str | None = None

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill `buffer` with the bytes from `start` on; a dropped connection is taken up where it broke.

        Raises UserError when the server sends other bytes than those asked for, or the file has changed.
        """
        done = failures = 0
        while done < len(buffer):
            before = done
            try:
                for part in self._parts(start + done, start + len(buffer)):
                    buffer[done : done + len(part)] = part
                    done += len(part)
                reason = "the answer was too short"
            except UserError:
                raise
            except HfHubHTTPError as error:  # such as a token that has expired meanwhile
                raise UserError(models.sentence(error, self.name, models.FETCHED)) from error
            except Exception as error:  # whatever a broken connection makes the HTTP library raise
                reason = models.reason(error)
            failures = failures + 1 if done == before else 0
            if failures == ATTEMPTS:
                raise Disconnected(
                    f"The connection to the hub broke {ATTEMPTS} times in a row ({reason}): check the network and run "
                    "the command again, which goes on where it stopped."
                )
            if done < len(buffer):
                time.sleep(min(LONGEST_WAIT_SECONDS, 0.25 * 2**failures))

    def _parts(self, start: int, end: int):
        """The bytes from start to end in parts, as they come."""
        request = {"Range": f"bytes={start}-{end - 1}"} | self.headers
        session = get_session()
        with session.stream("GET", self.url, headers=request, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            if response.status_code == 429 or response.status_code >= 500:
                raise ConnectionError(f"the server answered {response.status_code}")
            if response.status_code not in (200, 416):
                hf_raise_for_status(response)
            self._check(response, start)
            for part in response.iter_raw():
                if len(part) > end - start:
                    raise ConnectionError("more bytes came than were asked for")
                start += len(part)
                yield part

    def _check(self, response, start: int) -> None:
        """Raises UserError unless the answer is the range that starts at `start` of the file as it was."""
        if response.status_code == 200:
            raise UserError(
                f"The server of {self.name} sends whole files where parts are asked for, so it cannot be streamed "
                "from: run with --no-stream, or fetch the model and name its folder."
            )
        span, _, size = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        etag = response.headers.get("ETag")
        self.etag = self.etag or etag
        if size != str(self.size) or not span.startswith(f"{start}-") or etag != self.etag:
            raise UserError(f"{self.file} of {self.name} changed while it was read: run the command again.")
