"""nchan: nginx with one worker and a channel for each path; its nginx.conf is made in a temporary folder."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"  # where nginx often is, and a user's PATH does not lead
# Its buffer is as its documentation has it: the newest 10 messages of a channel, for an hour.
CONFIG: Final = """
load_module {module};
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      nchan_pubsub websocket;
      nchan_channel_id $uri;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"""


def nginx() -> str | None:
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), SYSTEM_PATH)))


def module(program: str) -> Path | None:
    """nchan, where this nginx looks for modules."""
    build = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    found = re.search(r"--modules-path=(\S+)", build)
    file = Path(found[1], "ngx_nchan_module.so") if found else None
    return file if file and file.exists() else None


def missing() -> str | None:
    if not (program := nginx()):
        return "there is no nginx"
    return None if module(program) else "nginx is without its module nchan"


def main(port: int) -> int:
    program = nginx()
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "nginx.conf")
        config.write_text(CONFIG.format(module=module(program), port=port))
        with subprocess.Popen([program, "-p", folder, "-e", "stderr", "-c", str(config)]) as server:
            signal.signal(signal.SIGTERM, lambda *_: server.terminate())
            return server.wait()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    sys.exit(main(options.parse_args().port))
