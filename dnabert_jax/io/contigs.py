"""Names of contigs: the same one is chr22 to some and 22 to others."""

_MITOCHONDRION = {"MT": "M"}


def plain_name(name: str) -> str:
    """What is alike in the names of one contig in the styles of UCSC and Ensembl: chr22 and 22, chrM and MT."""
    plain = name[3:] if name[:3].lower() == "chr" else name
    return _MITOCHONDRION.get(plain, plain)
