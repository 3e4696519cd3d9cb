"""A server that somebody has taken over: what it does with grants and claims stands in a file.

lying_server.py ADDRESS PORT UPSTREAM_PORT DIRECTORY MODE_FILE

It has the server's certificate and key from DIRECTORY, and an honest server of its own behind it. Gateways see one
server. The modes: honest; won (each claim is answered as stored, and is not); drop, replay, reorder, change (grants).
"""

import json
import select
import socket
import ssl
import sys
import threading

address, port, upstream, directory, mode_file = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{directory}/server.pem", f"{directory}/server.key")
context.load_verify_locations(f"{directory}/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
HAS_BODY = {b"PUB", b"HPUB", b"MSG", b"HMSG"}
# What replay sends again: all that ever came.
past = []


def mode():
    with open(mode_file) as file:
        return file.read().strip()


def messages(buffer):
    """Takes whole messages out of the buffer: the words of the first line, and the bytes behind it."""
    while b"\r\n" in buffer:
        end = buffer.index(b"\r\n") + 2
        words = bytes(buffer[:end]).split()
        size = int(words[-1]) + 2 if words and words[0].upper() in HAS_BODY else 0
        if len(buffer) < end + size:
            return
        body = bytes(buffer[end : end + size])
        line = bytes(buffer[:end])
        del buffer[: end + size]
        yield words, line, body


def claim(words):
    """The false answer to a claim; nothing for any other message."""
    is_claim = words[0] in (b"PUB", b"HPUB") and words[1].startswith((b"lk.once.", b"lk.list."))
    if not is_claim or mode() != "won":
        return None
    return words[2], b'{"stream":"LKONCE","seq":1}'


def remade(words, body, **changes):
    """The grant with other values: by the same number of bytes before it, as headers."""
    before = int(words[-2]) if words[0] == b"HMSG" else 0
    grant = json.loads(body[before:-2])
    grant.update(changes)
    body = body[:before] + json.dumps(grant, separators=(",", ":")).encode()
    sizes = [b"%d" % before] if words[0] == b"HMSG" else []
    words = words[: -1 - len(sizes)] + sizes + [b"%d" % len(body)]
    return b" ".join(words) + b"\r\n" + body + b"\r\n"


def grant(words, line, body, held):
    """What a gateway gets in place of a message with a grant."""
    how, whole = mode(), line + body
    if words[0] not in (b"MSG", b"HMSG") or not words[1].startswith(b"lk.grant.") or how == "honest":
        return [whole]
    if how == "drop":
        return []
    if how == "replay":
        past.append(whole)
        return [whole, whole, *past]
    if how == "reorder":
        held.append(whole)
        if len(held) < 2:
            return []
        sent = held[::-1]
        held.clear()
        return sent
    if how == "change":
        before = int(words[-2]) if words[0] == b"HMSG" else 0
        fields = json.loads(body[before:-2])
        other = "gw1" if fields["origin"] != "gw1" else "gw2"
        forged = [
            remade(words, body, src="192.0.2.66"),
            remade(words, body, expires=fields["expires"] + 3_600_000),
            remade(words, body, id="forged-1", opened=fields["opened"] + 900, expires=fields["expires"] + 900),
            remade([words[0], b"lk.grant." + other.encode(), *words[2:]], body, origin=other, src="192.0.2.66"),
            remade([words[0], b"lk.grant." + other.encode(), *words[2:]], body),
            line + body[:before] + b"x" * (len(body) - before - 2) + b"\r\n",
        ]
        return [*forged, whole]
    return [whole]


def answer(client, subject, body, inboxes):
    """Sends a message to whichever subscription takes the subject."""
    for pattern, number in inboxes:
        if pattern == subject or pattern.endswith(b">") and subject.startswith(pattern[:-1]) or (
            pattern.endswith(b"*") and subject.startswith(pattern[:-1])
        ):
            client.sendall(b"MSG %s %s %d\r\n%s\r\n" % (subject, number, len(body), body))
            return


def serve(plain):
    server = socket.create_connection((address, int(upstream)))
    info = server.makefile("rb", 0).readline()
    fields = json.loads(info[5:])
    fields.update(tls_required=True, tls_verify=True, connect_urls=[])
    plain.sendall(b"INFO " + json.dumps(fields).encode() + b"\r\n")
    client = context.wrap_socket(plain, server_side=True)
    buffers, inboxes, held = {client: bytearray(), server: bytearray()}, [], []
    while True:
        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
        for side in ready:
            block = side.recv(65536)
            if not block:
                client.close()
                server.close()
                return
            buffers[side] += block
            for words, line, body in messages(buffers[side]):
                if side is server:
                    for whole in grant(words, line, body, held) if body else [line]:
                        client.sendall(whole)
                    continue
                if words and words[0] == b"SUB":
                    inboxes.append((words[1], words[-1]))
                lie = claim(words) if body else None
                if lie:
                    answer(client, *lie, inboxes)
                else:
                    server.sendall(line + body)


def guarded(plain):
    try:
        serve(plain)
    except OSError:
        plain.close()


listener = socket.create_server((address, int(port)))
while True:
    threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
