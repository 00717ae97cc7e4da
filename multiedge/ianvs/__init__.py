"""The project as a host of KubeEdge Ianvs's jobs, and as a paradigm in somebody's checkout of Ianvs."""
