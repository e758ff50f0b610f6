"""The image's program: ``python -I -S -B boot.pyc HANDLER``, in place of ``python -m awslambdaric HANDLER``.

``python -m`` imports ``site``, ``runpy`` and a good part of the standard library from some two hundred small
files before anything of ours runs. Here the import pack stands in front of everything, the standard library's
modules and awslambdaric's too. Before the pack is installed, only modules that are built into the interpreter
may be imported.
"""

import sys

# Named by the image, and read here, not in settings.py: nothing else is imported yet.
from posix import environ

DIRECTORY = __file__.rpartition("/lambda_app/")[0]
LIBRARY = f"{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def prepare() -> None:
    """Makes the function's and the environment's packages importable, from the pack first."""
    # What ``site`` would add, and what `python -m` finds in the working directory.
    environment = sys.executable.rpartition("/bin/")[0]
    sys.path.insert(0, DIRECTORY)
    sys.path.append(f"{environment}/{LIBRARY}")
    pack = environ.get(b"IMPORT_PACK")
    if pack:
        from lambda_app.coldstart import import_pack

        import_pack.install(pack.decode())


def main() -> None:
    """Serves invocations until Lambda ends the process."""
    prepare()
    from awslambdaric.__main__ import main as serve

    serve(sys.argv)


if __name__ == "__main__":
    main()
