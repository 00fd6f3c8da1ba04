"""A repository of a hub, by huggingface_hub: the bundle's files, a card and the bill of materials, in one commit.

HF_ENDPOINT says which hub, and the token is the client's own: HF_TOKEN, or what `hf auth login` keeps.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.bundle.manifest import MANIFEST, MAX_MANIFEST, SIGNATURE, Manifest, read_manifest
from edgeopt.bundle.sbom import sbom
from edgeopt.push.address import Address
from edgeopt.push.card import CARD, card_of
from edgeopt.push.given import SBOM, Given, Pushed, reaching
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.quiet import quiet_libraries

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

MAIN = "main"
#: What a push, or the hub itself, puts beside a bundle's files.
_BESIDE = {CARD, SBOM, MANIFEST, SIGNATURE, ".gitattributes"}


@dataclass(frozen=True)
class _There:
    """A branch as it is. head: its commit. manifest: of the bundle in it, if there is one, and its bytes."""

    head: str
    files: frozenset[str]
    manifest: Manifest | None
    data: bytes

    @property
    def others(self) -> list[str]:
        """Files that are of no bundle."""
        return sorted(self.files - _BESIDE - set(self.manifest.files if self.manifest else ()))


def push(given: Given) -> Pushed:
    """Commit the bundle to its branch; where it is there already, nothing is done."""
    quiet_libraries()
    from huggingface_hub import HfApi, get_token

    api, address = HfApi(), given.address
    with reaching(address, get_token()):
        created = _repository(api, given)
        branches, new_branch = _branches(api, address)
        there = _look(api, address.name, branches[MAIN if new_branch else address.revision or MAIN])
        data = (given.bundle.folder / MANIFEST).read_bytes()
        if there.data == data and not new_branch:
            return Pushed(there.head, _url(api, address, there.head), new=False)
        _check(there, given, mine=created or new_branch)
        if new_branch:
            api.create_branch(address.name, branch=str(address.revision), revision=there.head)
        commit = api.create_commit(
            address.name,
            _operations(there, given),
            commit_message=f"{given.bundle.manifest.name}: bundle {given.bundle.digest[:16]}",
            revision=address.revision or MAIN,
            parent_commit=there.head,  # whoever commits meanwhile is not overwritten: the hub refuses
        )
        return Pushed(commit.oid, _url(api, address, commit.oid), new=True)


def _repository(api: HfApi, given: Given) -> bool:
    """Make the repository where there is none, private unless told; whether it was made.

    Raises InputError E146 where it is there, and all can read what was not said to be for all.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    name, public = given.address.name, given.options.public
    try:
        found = api.repo_info(name)
    except RepositoryNotFoundError:
        api.create_repo(name, private=not public)
        return True
    if not found.private and not public:
        raise bad_input("E146", f"all can read the repository {name}", help="--public says that this is meant")
    return False


def _branches(api: HfApi, address: Address) -> tuple[dict[str, str], bool]:
    """The branches with their commits, and whether that of the address is yet to be made.

    Raises InputError E146 for a tag, which stays what it is.
    """
    refs = api.list_repo_refs(address.name)
    if address.revision in {tag.name for tag in refs.tags}:
        raise bad_input(
            "E146", f"{address.revision} is a tag of {address.name}", help="a tag stays: name another revision"
        )
    branches = {branch.name: branch.target_commit for branch in refs.branches}
    return branches, address.revision is not None and address.revision not in branches


def _look(api: HfApi, name: str, commit: str) -> _There:
    files = frozenset(api.list_repo_files(name, revision=commit))
    data: bytes = b""
    if MANIFEST in files:
        with tempfile.TemporaryDirectory(prefix="edgeopt-push-") as made:
            path = Path(api.hf_hub_download(name, MANIFEST, revision=commit, local_dir=made))
            data = path.read_bytes() if path.stat().st_size <= MAX_MANIFEST else b""
    manifest = None
    with suppress(InputError):  # somebody's own manifest.json
        manifest = read_manifest(data)
    return _There(commit, files, manifest, data)


def _check(there: _There, given: Given, *, mine: bool) -> None:
    """Raises InputError E146 where something would be overwritten that was not said to be.

    mine: the branch was made for this push; its history begins with what another branch has.
    """
    others = there.others if there.manifest else sorted(there.files - {".gitattributes", CARD})
    if others:
        raise bad_input(
            "E146",
            f"{given.address} holds files of no bundle: {', '.join(others[:5])}",
            help="push into a repository of its own",
        )
    if mine or given.options.replace or there.files <= {".gitattributes"}:
        return
    what = f"the bundle of {there.manifest.created}, {there.manifest.name}" if there.manifest else f"a {CARD}"
    raise bad_input(
        "E146",
        f"{given.address} holds {what}",
        help="--replace puts this in its place, and the history keeps it; or name another revision: "
        f"hf:{given.address.name}@REVISION",
    )


def _operations(there: _There, given: Given) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Every file of the bundle and what stands beside it; what the bundle before had and this has not goes."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    bundle = given.bundle
    texts = {CARD: card_of(bundle.manifest, given.found, given.address), SBOM: sbom(bundle.manifest, bundle.digest)}
    ours = {*bundle.files, *texts}
    gone = {*there.manifest.files, SIGNATURE} & there.files - ours if there.manifest else set()
    return [
        *(CommitOperationAdd(name, str(bundle.folder / name)) for name in bundle.files),
        *(CommitOperationAdd(name, text.encode()) for name, text in texts.items()),
        *(CommitOperationDelete(name) for name in sorted(gone)),
    ]


def _url(api: HfApi, address: Address, commit: str) -> str:
    return f"{api.endpoint}/{address.name}/tree/{commit}"
